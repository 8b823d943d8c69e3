"""What `make bench` measures, beside the usual tools; not part of the installed product."""
