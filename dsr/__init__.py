"""Data subject requests: what is done with them, for the service and the command line alike.

Application logic between the domain in ``schemas`` and the ports in ``stores``; it knows neither
the web framework nor the pipelines.
"""
