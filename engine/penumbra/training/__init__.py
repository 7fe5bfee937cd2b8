"""Everything that learns or evaluates: scenes, data sets, pretraining, refinement, import, export and evaluation."""
