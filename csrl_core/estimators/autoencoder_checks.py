"""Which arguments of `TensorizedAutoencoder` go together."""


class AutoencoderChecks:
    """Mixin of `TensorizedAutoencoder`: what its starts, its solvers and its layers need of the other arguments."""

    def _check_dense_alone(self):
        """Refuse arguments that only dense layers of the widths ``hidden`` have."""
        what = "layers that are given" if self.encoder is not None else "architecture='conv'"
        of_layers = {"activation": "linear", "bias": False}
        of_layers |= {"output_activation": "linear"} if self.encoder is not None else {}
        for name, default in {**of_layers, "solver": "gradient"}.items():
            if getattr(self, name) != default:
                cure = "; encoder and decoder as text have their own" if name in of_layers else ""
                raise ValueError(f"{name}={getattr(self, name)!r} is not for {what}; expected {default!r}{cure}")
        if self.start == "components":
            raise ValueError(f"start='components' is not for {what}, which have no principal components")

    def _components_need(self, hidden, d=None):
        """The first requirement of a start at principal components that is not met, for a message; None if all are met.

        d : int, features; None before a fit
        """
        requirements = {
            "solver": (self.solver, "gradient", "the exact solver finds its own components, whatever the start"),
            "activation": (self.activation, "linear", "principal components are linear"),
            "output_activation": (self.output_activation, "linear", "principal components are linear"),
            "bias": (self.bias, False, "the centres are the biases"),
        }
        for name, (value, expected, reason) in requirements.items():
            if value != expected:
                return f"{name}={expected!r}, got {name}={value!r}: {reason}"
        if list(hidden) != sorted(hidden, reverse=True):
            return (
                f"encoder widths that nowhere rise, got hidden={self.hidden!r}: "
                f"a layer has no more orthonormal columns than rows"
            )
        if d is None:
            return None
        if hidden[0] > d:
            return (
                f"encoder widths of at most n_features={d}, got hidden={self.hidden!r}: "
                f"a layer has no more orthonormal columns than rows"
            )
        if not self.center and self.n_clusters > 1 and self._training("reg") > 0 and not self._by_likelihood:
            return (
                f"center=True, got center=False with n_clusters={self.n_clusters}, reg={self._training('reg')!r} and "
                f"assignment={self.assignment!r} by loss: every cluster would start with the same losses, ‖x‖²/d"
            )
        return None

    def _check_exact(self):
        """Refuse arguments for which there is no exact solution."""
        requirements = {
            "reg": (
                self._training("reg"),
                0,
                "with a penalty a linear model has no minimiser: the encoder shrinks, the decoder grows",
            ),
            "activation": (self.activation, "linear", "principal components are linear"),
            "output_activation": (self.output_activation, "linear", "principal components are linear"),
            "bias": (self.bias, False, "the centres are the biases"),
            "batch_size": (self._training("batch_size"), None, "every step takes all samples"),
            "center_update": (self.center_update, "mean", "centres are exact means"),
            "standing_epochs": (self.standing_epochs or "auto", "auto", "every round assigns all samples"),
        }
        for name, (value, expected, reason) in requirements.items():
            if value != expected:
                raise ValueError(f"solver='exact' needs {name}={expected!r}, got {name}={value!r}: {reason}")
        if self.shared > 0 and self.n_clusters > 1:
            raise ValueError(
                f"solver='exact' needs shared=0 or n_clusters=1, got shared={self.shared} and "
                f"n_clusters={self.n_clusters}: layers that clusters share are no principal components"
            )
