"""What a training starts from: published weights, or a model that was trained before."""
