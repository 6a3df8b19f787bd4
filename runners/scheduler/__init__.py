"""The scheduler: what is due (``plan``), who acts (``loop``), how processes start (``launch``)."""
