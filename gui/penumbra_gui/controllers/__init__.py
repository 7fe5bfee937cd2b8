"""Between models and views: no widget is made here, so everything here is tested without a window."""
