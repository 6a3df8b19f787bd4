"""The dispatcher: of all processes of the service one starts jobs' runs, and watches over them."""
