"""What people reported during the sample period, as a table. generate.py fills in {rid}, {path}, {when}, {order}... from
the last call in the logs that hit `seen_by` through `fault` before the item was written.

Times are "MM-DD HH:MM" UTC. Nobody reports the login loop: that fault is silent on purpose.
"""

from __future__ import annotations

from typing import NamedTuple


class Item(NamedTuple):
    id: str
    channel: str  # ticket | chat | mail | survey
    created_at: str
    reporter: str
    account: str  # key of context.toml's [accounts]; "": unknown
    title: str
    body: str
    history: tuple[tuple[str, str], ...] = ()  # (time, status after it)
    fault: str = ""  # id of the planted fault it is about; "": none
    seen_by: str = ""  # consumer of the reporter
    duplicate_of: str = ""  # id of the same person's or team's earlier report
    question: bool = False
    score: int | None = None  # survey: 1 (bad) .. 5 (good)


ITEMS = (
    # --- pay: 502 from node pay-2 ---------------------------------------------------------------------------------
    Item("SHOP-101", "ticket", "03-09 16:42", "m.silva@lumina.example", "lumina", "Payment fails with 502",
         "Since this afternoon some of our payments die with a 502 after ~5 seconds. Last one at {when} UTC on {path}, "
         "X-Request-Id {rid}. Steps: create order, POST pay, wait. Expected 200, got \"502 Bad Gateway\". Trying again "
         "usually works. Java 21 client, production.",
         (("03-09 17:05", "acknowledged"), ("03-10 08:30", "in_progress")), "pay-502", "app-21"),
    Item("SHOP-107", "ticket", "03-10 10:20", "tom.hale@bluebird.example", "bluebird",
         "checkout: gateway error when paying order {order}",
         "Customer could not pay order {order}. Our log says {method} {path} -> {status} at {hhmm} UTC. This is money, please "
         "look at it today!!", (("03-10 10:31", "acknowledged"),), "pay-502", "app-02"),
    Item("MAIL-310", "mail", "03-11 19:15", "farid.haas@post.example", "", "I think I was charged twice??",
         "Hello, I pressed \"pay\" and waited, then Bad Gateway. Pressed again and it went through. Did I pay two times now? "
         "order number is {order}. Not happy.", (), "pay-502", "farid.haas"),
    Item("MAIL-315", "mail", "03-12 09:02", "c.morel@petitmarche.example", "petitmarche", "Erreur 502 au paiement",
         "Bonjour, depuis lundi environ un paiement sur dix échoue avec une erreur 502. Dernier cas chez nous : {when} UTC, requête "
         "{rid}. Nos clients abandonnent leur panier. Merci de faire vite.", (), "pay-502", "app-12"),
    Item("CHAT-55", "chat", "03-14 14:55", "jonas@fjordfoods.example", "fjordfoods", "",
         "moin, bezahlen klappt bei uns nur manchmal, mal hängts ein paar sekunden und dann fehler. ist da was bekannt?",
         (), "pay-502", "app-09"),
    Item("SURV-12", "survey", "03-13 15:00", "purchasing@oakline.example", "oakline", "",
         "Ordering is fine, but the payment step is a lottery. We always need a second try.", (), "pay-502", "app-04",
         score=2),
    Item("CHAT-31", "chat", "03-09 16:50", "m.silva@lumina.example", "lumina", "",
         "fyi just opened a ticket: pay returns 502 now and then, request id {rid}", (), "pay-502", "app-21", "SHOP-101"),
    Item("MAIL-304", "mail", "03-10 11:45", "tom.hale@bluebird.example", "bluebird", "Fwd: gateway error when paying",
         "As nobody answered in the ticket: paying orders still gives us 502 Bad Gateway, e.g. {path} at {hhmm}. Please treat "
         "as urgent.", (), "pay-502", "app-02", "SHOP-107"),
    # --- export slow 09:00-10:00 ----------------------------------------------------------------------------------
    Item("SHOP-104", "ticket", "03-10 09:40", "m.silva@lumina.example", "lumina", "Exports extremely slow this morning",
         "GET {path} took {seconds} s at {hhmm} UTC, normally it is below one second. Expected: same speed as last week.",
         (("03-10 12:10", "acknowledged"), ("03-10 15:45", "resolved"), ("03-11 09:35", "reopened")), "export-slow", "app-21"),
    Item("CHAT-40", "chat", "03-12 09:31", "ruth@zweirad.example", "zweirad", "",
         "is the export down?? spinning for ages since about nine", (), "export-slow", "app-13"),
    Item("MAIL-312", "mail", "03-11 10:25", "it@oakline.example", "oakline", "Timeouts downloading the daily export",
         "Our job that fetches the daily export at 09:15 ran into its timeout on Tuesday, at 11:00 the same download was "
         "quick. What happens between nine and ten?", (), "export-slow", "app-05"),
    Item("SHOP-118", "ticket", "03-12 10:02", "dana.reuter@acme.example", "acme", "Export download slow every morning",
         "More than once now: /v1/exports/... needs {seconds} seconds between 9 and 10 (UTC). After ten it is ok again. "
         "Request id {rid}.", (("03-12 11:00", "acknowledged"),), "export-slow", "app-06"),
    Item("MAIL-321", "mail", "03-13 10:11", "jonas@fjordfoods.example", "fjordfoods", "Export dauert morgens ewig",
         "Hallo, der Export braucht morgens zwischen 9 und 10 Uhr UTC sechsmal so lange wie sonst ({seconds} s statt unter einer). Danach ist alles "
         "normal. Bitte prüfen, ob da ein Batch läuft.", (), "export-slow", "app-09"),
    Item("SURV-14", "survey", "03-13 16:20", "ruth@zweirad.example", "zweirad", "",
         "mornings are painful, reports take forever to load", (), "export-slow", "app-13", score=2),
    Item("CHAT-62", "chat", "03-12 09:48", "support2@shop.example", "", "",
         "anyone else getting calls about slow downloads? second customer since nine", (), "export-slow"),
    Item("CHAT-35", "chat", "03-10 09:52", "m.silva@lumina.example", "lumina", "",
         "export still crawling. see SHOP-104", (), "export-slow", "app-21", "SHOP-104"),
    Item("MAIL-322", "mail", "03-12 11:30", "dana.reuter@acme.example", "acme", "Re: Export download slow every morning",
         "To add to my ticket SHOP-118: it is always between 9 and 10 that the export download is slow.", (), "export-slow",
         "app-06", "SHOP-118"),
    # --- partner stock updates silent -----------------------------------------------------------------------------
    Item("SHOP-113", "ticket", "03-11 13:25", "noc@nordlog.example", "nordlog", "Stock updates not accepted since noon",
         "Our queue for POST /partner/v2/stock/updates is growing since 12:00 UTC, connections hang before any answer. "
         "Nothing was changed on our side.",
         (("03-11 13:40", "acknowledged"), ("03-11 14:20", "resolved"), ("03-12 09:00", "closed")), "stock-silence"),
    Item("MAIL-313", "mail", "03-11 13:58", "api@tandem.example", "tandem", "No connection to stock update interface",
         "Dear partner desk, we cannot push stock levels to you at the moment, the last one went through shortly before noon UTC. "
         "Reading orders works. Kind regards", (), "stock-silence"),
    Item("CHAT-44", "chat", "03-11 13:12", "warehouse@shop.example", "", "",
         "stock numbers in the shop are frozen, nothing moved for an hour. we are selling things we dont have",
         (), "stock-silence"),
    Item("SURV-11", "survey", "03-12 08:30", "noc@nordlog.example", "nordlog", "",
         "Outage on Wednesday noon without any notice from you. Otherwise a good interface.", (), "stock-silence", score=3),
    Item("CHAT-46", "chat", "03-11 13:41", "noc@nordlog.example", "nordlog", "",
         "any news on the hanging stock updates? ticket is SHOP-113", (), "stock-silence", "", "SHOP-113"),
    # --- refunds: 422 for one consumer ----------------------------------------------------------------------------
    Item("SHOP-115", "ticket", "03-11 11:30", "buchhaltung@kranich.example", "kranich", "Refunds rejected: 422",
         "We can not refund customers any more. Every refund comes back with 422 \"unprocessable\", for instance {path} at {when} UTC "
         "(request {rid}). Payload did not change. Legally we have to pay back within 14 days.",
         (("03-11 13:02", "acknowledged"), ("03-12 16:00", "in_progress"), ("03-13 08:20", "resolved")), "refunds-422", "app-17"),
    # --- search drift ---------------------------------------------------------------------------------------------
    Item("CHAT-70", "chat", "03-14 11:05", "tom.hale@bluebird.example", "bluebird", "",
         "might be just me but search feels a bit more sluggish than at launch", (), "search-drift", "app-02"),
    # --- questions: no trace in the logs --------------------------------------------------------------------------
    Item("SHOP-90", "ticket", "03-04 09:12", "purchasing@oakline.example", "oakline", "How do I change the invoice address?",
         "We moved. Where can I change the address that is printed on the invoice?",
         (("03-04 10:00", "acknowledged"), ("03-04 10:20", "resolved"), ("03-06 10:20", "closed")), question=True),
    Item("CHAT-03", "chat", "03-05 13:22", "ruth@zweirad.example", "zweirad", "",
         "where do i find the button for exports? someone told me there is one now", question=True),
    Item("MAIL-280", "mail", "03-06 08:47", "c.morel@petitmarche.example", "petitmarche", "Documentation en français ?",
         "Bonjour, existe-t-il une documentation de l'API en français ? Merci d'avance.", question=True),
    Item("SHOP-94", "ticket", "03-09 08:15", "it@oakline.example", "oakline", "How to get a second API key",
         "Is it possible to have one key for test and one for production? How do I order it?",
         (("03-09 09:30", "acknowledged"), ("03-10 09:00", "resolved")), question=True),
    Item("CHAT-25", "chat", "03-09 12:40", "jonas@fjordfoods.example", "fjordfoods", "",
         "welche farbe hat der bestellknopf nach dem relaunch offiziell? marketing fragt", question=True),
    Item("MAIL-301", "mail", "03-09 15:33", "greta.koch@post.example", "", "Wording on the invoice",
         "Could the invoice say \"Rechnung\" instead of \"Invoice\"? My tax adviser asks for it.", question=True),
    Item("SHOP-106", "ticket", "03-10 09:55", "m.silva@lumina.example", "lumina", "Rate limit of the API?",
         "How many requests per minute are we allowed to send? Could not find it in the docs.",
         (("03-10 11:15", "resolved"),), question=True),
    Item("CHAT-37", "chat", "03-10 14:02", "dana.reuter@acme.example", "acme", "",
         "what is the difference between a contract number and an agreement number in your docs?", question=True),
    Item("MAIL-306", "mail", "03-10 17:20", "hugo.marin@post.example", "", "newsletter",
         "How can I unsubscribe from the newsletter? I cant find the link.", question=True),
    Item("SHOP-112", "ticket", "03-11 09:20", "buchhaltung@kranich.example", "kranich", "Which VAT rate for Austria",
         "Which VAT rate do you use for deliveries to Austria, and where can I see it?",
         (("03-11 15:00", "acknowledged"), ("03-12 10:00", "resolved")), question=True),
    Item("CHAT-47", "chat", "03-11 15:30", "ruth@zweirad.example", "zweirad", "",
         "can we have the new menu in dark mode? my eyes", question=True),
    Item("MAIL-316", "mail", "03-12 12:26", "api@tandem.example", "tandem", "Test system",
         "Is there a sandbox where our trainees may play with shipments without booking anything?", question=True),
    Item("SHOP-119", "ticket", "03-12 13:10", "tom.hale@bluebird.example", "bluebird", "Can I search for several words?",
         "Does the search know AND / OR? Or do I need quotes? A manual page would be great.", (("03-13 09:15", "resolved"),),
         question=True),
    Item("CHAT-58", "chat", "03-12 16:44", "support1@shop.example", "", "",
         "who knows how long a gift card is valid? 3 years or forever", question=True),
    Item("SHOP-122", "ticket", "03-13 08:50", "dana.reuter@acme.example", "acme", "Training for new colleagues",
         "Two new people start in April. Do you offer a training on the back office, and what does it cost?",
         (("03-13 10:00", "acknowledged"),), question=True),
    Item("MAIL-324", "mail", "03-14 18:05", "ines.costa@post.example", "", "Delivery to an island",
         "Do you deliver to Madeira? How much would it be for a chair?", question=True),
    Item("SURV-16", "survey", "03-14 10:12", "it@oakline.example", "oakline", "",
         "Good start. How do I get release notes by mail?", question=True, score=4),
    Item("SHOP-125", "ticket", "03-15 11:40", "noc@nordlog.example", "nordlog", "Contact for weekend questions",
         "Whom may we phone on weekends? The number in the contract is not answered.", (), question=True),
    Item("MAIL-302", "mail", "03-09 09:05", "it@oakline.example", "oakline", "second API key",
         "Same question as in my ticket SHOP-94: how do I get a second API key for our test system?", question=False,
         duplicate_of="SHOP-94"),
    # --- noise ----------------------------------------------------------------------------------------------------
    Item("CHAT-28", "chat", "03-09 13:15", "support1@shop.example", "", "", "cake in the kitchen for the go-live team!!"),
    Item("MAIL-309", "mail", "03-11 07:00", "noreply@prize-draw.example", "", "You have WON <b>a voucher</b>",
         "Click [here](https://prize-draw.example/claim?x=1) to claim =HYPERLINK(\"https://prize-draw.example\") now."),
    Item("MAIL-318", "mail", "03-12 17:01", "tilda.haas@post.example", "", "Automatic reply: your order",
         "I am out of office until March 20 and will answer when I am back."),
    Item("SURV-15", "survey", "03-13 18:45", "farid.novak@post.example", "", "", "Lovely mug, thank you. Came in two days.",
         score=5),
    Item("SURV-18", "survey", "03-15 20:10", "kiosk@shop.example", "", "", "ok", score=4),
)  # fmt: skip
