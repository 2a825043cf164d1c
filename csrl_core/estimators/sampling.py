"""What estimators that draw samples after the fit have in common."""

from csrl_core.training.draws import draw_key


class Sampling:
    """Mixin of estimators with a method ``sample``."""

    def _draw(self, random_state):
        """(key, step) of random numbers that no earlier call has used."""
        if random_state is not None:
            return draw_key(random_state), 0
        number = vars(self).get("_n_draws", 0)
        self._n_draws = number + 1
        return self._key, number
