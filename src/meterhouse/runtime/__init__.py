"""The composition root: settings become engines, engines become services, services become a running process."""
