"""Clusters of a model that has one for all data, for comparison: k-means, on the data or on its codes."""


def k_means(X, k, seed):
    """The best of ten of scikit-learn's, fitted."""
    from sklearn.cluster import KMeans

    return KMeans(k, n_init=10, random_state=seed).fit(X)


def clusters_of(model, X, X_test, k, seed):
    """Labels of training and test data: the model's own, or by k-means on its codes if it has one cluster."""
    if model.n_clusters > 1:
        return model.labels_, model.predict(X_test)
    codes = k_means(model.transform(X), k, seed)
    return codes.labels_, codes.predict(model.transform(X_test))
