"""What every object of Resolve's has in common, and what its calls on the free edition do."""


class StudioOnly(AssertionError):
    """A call the free edition answers with a window that makes later calls fail."""


def _no_method(*_, **__):
    raise TypeError("'NoneType' object is not callable")


class HostObject:
    """Answers to every name: ``hasattr`` says nothing, and only calling tells."""

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        return _no_method
