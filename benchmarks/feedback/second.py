"""A second vocabulary for worlds.py, by other eyes: bank, freight and telecom, loan words, haste, wrong clocks, forwarded mails."""

from __future__ import annotations

import random

DOMAINS = {
    "retail bank": [
        ("wire", "POST", "/pay/v3/wires", "wire money"), ("standing order", "PUT", "/pay/v3/standing-orders/{id}", "change a standing order"),
        ("account list", "GET", "/core/customers/{id}/accounts", "list the accounts"), ("IBAN check", "GET", "/core/iban/{id}/validate", "validate an IBAN"),
        ("mortgage", "POST", "/lending/mortgages/simulations", "simulate a mortgage"), ("chargeback", "POST", "/cards/{id}/disputes", "dispute a card payment"),
        ("card limit", "PATCH", "/cards/{id}/limits", "raise the limit of a card"), ("securities", "GET", "/depot/{id}/positions", "see the depot"),
        ("TAN", "POST", "/security/challenges", "get a TAN"), ("KYC", "POST", "/onboarding/kyc/documents", "upload the passport"),
    ],
    "freight": [
        ("booking", "POST", "/ocean/bookings", "book a container"), ("schedule", "GET", "/ocean/schedules", "look up sailings"),
        ("bill of lading", "GET", "/ocean/bills/{id}", "pull the bill of lading"), ("gate slot", "POST", "/terminal/slots", "reserve a slot at the gate"),
        ("demurrage", "GET", "/terminal/containers/{id}/charges", "see demurrage"), ("ETA", "GET", "/vessels/{id}/eta", "get the ETA"),
        ("proof of delivery", "GET", "/trucking/jobs/{id}/pod", "fetch the POD"), ("dangerous goods", "POST", "/ocean/dangerous-goods/checks", "declare dangerous goods"),
        ("weight", "PUT", "/ocean/bookings/{id}/vgm", "submit the VGM"), ("token", "POST", "/iam/token", "authenticate"),
    ],
    "telecom": [
        ("top-up", "POST", "/prepaid/{id}/topups", "top up"), ("porting", "POST", "/numbers/portings", "port a number"),
        ("SIM", "POST", "/sims/{id}/activation", "activate a SIM"), ("data usage", "GET", "/subscribers/{id}/usage", "see the data volume"),
        ("roaming", "POST", "/subscribers/{id}/roaming-bundles", "buy a roaming bundle"), ("coverage", "GET", "/network/coverage", "check coverage"),
        ("trouble ticket", "POST", "/tmf/trouble-tickets", "open a trouble ticket"), ("voicemail", "GET", "/subscribers/{id}/voicemails", "listen to voicemails"),
        ("device", "GET", "/catalog/devices", "browse handsets"), ("OTP", "POST", "/auth/otp", "get an OTP"),
    ],
}  # fmt: skip
PHRASES = {
    "errors": [
        "{w} kaputt seit ca. {hhmm}, bitte um Info", "guys the {w} call blows up with {status} for like half of the requests", "Customer hotline: people cannot {do}.",
        "{method} {path} => {status} (correlation {rid})", "error when i {do}, tried 3x, third time it went through", "Unser Team kann nicht arbeiten, {w} wirft nur {status}er",
        "we keep seeing failures on {path}", "pls fix {w}, customers furious", "Ticket from our service desk: trying to {do} ends in an error page. Reference {rid}",
        "something is off with {w}, roughly every 3rd attempt goes wrong", "{w} -> internal error, see screenshot", "el {w} no funciona desde las {hhmm}",
        "got {status} from you around {hhmm} (our time) while we {do}", "{w}: unexpected error, please try again later", "failed to {do} again today",
    ],
    "latency": [
        "{w} takes like {s} secs now??", "response time of {method} {path} tripled", "unsere Agents warten ewig, wenn sie versuchen: {do}", "everything ok at your end? {w} is painfully slow",
        "our timeout of 10s kicks in on {path} all the time", "loading... loading... loading... ({w})", "{w} performance degraded since {hhmm} local time", "c'est hyper lent quand on veut {do}",
        "request {rid} took {s}s, SLA says 2", "it takes an eternity to {do}", "SLOW {w}!!", "{w} super laggy today, is someone running a batch?",
    ],
    "silence": [
        "no response at all from {path}, connection just hangs", "{w} down since {hhmm}?", "we don't get anything back when we {do}", "{w} tot, keine Verbindung", "is the {w} service offline?",
        "our monitoring says {path} unreachable", "nothing goes through for {w}", "could not connect to you for {w}, 3 sites affected",
    ],
    "auth": [
        "all of a sudden 401 on {path}", "{w}: 'access denied' since {hhmm}, credentials are the same as yesterday", "our service account can't {do} any longer, unauthorised",
        "token expired message directly after login ({status})", "{status} forbidden when we {do}, id {rid}", "did you revoke our key? {w} refuses it",
    ],
    "rate_limit": [
        "getting throttled hard on {w}", "{status} on {path} though we are far below our quota", "too many requests?? we only {do} a few times per minute", "who lowered our rate limit for {w}?",
    ],
}  # fmt: skip
NOISE = [
    "can you send me the price list for {w}", "Whom do I contact about {w} training?", "is there a test number to {do}?", "how would we {do} for a company with two owners", "please change my email address",
    "the {w} form has a typo in the second line", "new logo looks nice", "Can {w} be exported to Excel?", "FW: invitation to the release party", "holiday greetings from the {w} team",
    "my phone battery died, sorry for the late answer", "we'd like to see {w} in the mobile app", "Wann kommt die neue Version von {w}?", "the branch in Graz is closed because of a water leak",
    "our internet provider had an outage, all good now", "kindly add my colleague to the {w} mailing list", "Which fields are mandatory to {do}?", "customer complains about the tone of the {w} letter",
    "printer jam at counter 4", "what's the roadmap for {w}?", "the contract for {w} needs a signature", "wrong colour of the {w} icon in Safari", "happy with {w}, thank you",
    "please delete the personal data of customer 8812", "Out of office: back on the 14th", "the elevator is broken again", "do we get a discount if we {do} more often", "my password manager does not fill in your login form",
    "excel crashes when I open the {w} report", "parking card expired", "the fax machine fails to send", "customer lost his card, has been told to come in", "meeting about {w} errors moved to Thursday",
    "could the docs of {w} explain status 409 better?", "feature: favourites for {w}", "is 2 seconds a normal response time for {w}?", "internal: our batch failed because of a full disk", "delivery of the new monitors is late",
]  # fmt: skip
BARE = ["{w}!!!", "hello? {w}?", "see subject: {w}", "problem with {path}", "customers are asking about {w} since {hhmm}", "can you please look into {w}", "not possible to {do}", "{w} acting strange", "need help, {do}"]  # fmt: skip


def haste(dice: random.Random, text: str) -> str:
    """The text as it arrives: typed in haste, in lower case, forwarded, with greeting and signature; ids and paths stay."""
    words = text.split(" ")
    if dice.random() < 0.35:
        place = dice.randrange(len(words))
        if len(words[place]) > 4 and words[place].isalpha():
            at = dice.randrange(1, len(words[place]) - 2)
            word = words[place]
            words[place] = word[:at] + word[at + 1] + word[at] + word[at + 2 :]
    text = " ".join(words)
    if dice.random() < 0.2 and not any(sign in text for sign in "/{"):
        text = text.lower()
    kind = dice.random()
    if kind < 0.12:
        return f"FYI, below what I got from the client. Can you check?\n\n> {text}\n\nRegards"
    if kind < 0.3:
        return f"Hi,\n{text}\nBR, {dice.choice(('Ines', 'Marek', 'Oluwaseun', 'Tuan'))} ({dice.choice(('2nd level', 'ops desk', 'partner mgmt'))}, phone {dice.randint(100, 999)})"
    return text
