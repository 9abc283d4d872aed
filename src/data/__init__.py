"""Training data: data set layouts, samples, composition, augmentation and batches."""
