"""The words that generated records are made of. None of them belongs to a real person or company.

E-mail domains are reserved by RFC 2606; telephone numbers (see ``people``) lie in the range that
the North American numbering plan keeps for fiction.
"""

from __future__ import annotations

FIRST_NAMES = (
    "Ana Bruno Chloé Daniel Eva Farid Grace Hugo Inés Jonas Kavya Liam Maya Noah Olga Pedro "
    "Quinn Rosa Sven Tara Uma Viktor Wendy Ximena Yusuf Zoë André Björn Célia Dunja Emil Fátima"
).split()

LAST_NAMES = (
    "Abebe Becker Costa Dubois Eriksen Fischer García Haddad Ito Jansen Kowalski Lindqvist "
    "Moreau Nguyen Okafor Petrov Quist Rossi Silva Tanaka Ueda Vargas Weber Xu Yilmaz Zeller "
    "Müller Núñez Östlund Peña Sørli Tóth"
).split()

DOMAINS = ("example.com", "example.org", "example.net", "mail.example.com")
COMPANIES = ("Acme", "Globex", "Initech", "Umbra", "Northwind", "Contoso", "Tailspin", "Fabrikam")

CITIES = (
    ("Lisbon", "PT"),
    ("Berlin", "DE"),
    ("Kraków", "PL"),
    ("Dublin", "IE"),
    ("Toronto", "CA"),
    ("Austin", "US"),
    ("São Paulo", "BR"),
    ("Osaka", "JP"),
    ("Nairobi", "KE"),
    ("Malmö", "SE"),
)

# The last one has no system in front: its demands come out with the system_id UNKNOWN.
TICKET_SYSTEMS = ("tm-", "AXS-", "see-", "eventim-", "DICE-", "tm-", "AXS-", "evt_")
CURRENCIES = ("EUR", "USD", "GBP", "CAD", "SEK", "EUR", "USD")

ACTS = ("The Paper Lanterns", "Café del Norte", "Nine Rivers", "Ótica", "Silver Ferry", "Low Tide")
TOURS = ("Autumn Tour", "Live in Concert", "Anniversary Show", "Unplugged", "Open Air", "Late Set")
TAGS = ("rock", "jazz", "family", "open-air", "seated", "festival", "matinee", "classical")

CHANNELS = ("email", "email", "email", "sms", "push")
TEMPLATES = (
    "tickets-matched-v3",
    "demand-confirmed-v2",
    "price-dropped-v1",
    "event-on-sale-v4",
    "demand-expiring-v2",
)

NOTES = ("near the exit, please", "prefers the balcony", "gruppe von fünf", "no obstructed view")
BLOCKS = ("101", "102", "204", "A", "B", "Floor", "Balcony", "Upper Tier", "GA")
