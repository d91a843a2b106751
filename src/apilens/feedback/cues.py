"""What speaks for a report being a bug, a wish or a question: named cues in its words, each with a weight anyone can read."""

from __future__ import annotations

from typing import NamedTuple

import polars as pl

KINDS = ("bug", "enhancement", "question")


class Cue(NamedTuple):
    """where: start (title, else the first 160 characters), text, last (its last 160 characters), or short (fewer than 70
    characters, no pattern). pattern: in Polars' linear-time syntax. weights: log-odds for each of KINDS."""

    where: str
    pattern: str
    weights: tuple[float, float, float]


#: Fitted by `benchmarks/feedback/categories.py --fit` on issues of trackers, mail, chat and forums; what they say of
#: texts of a style they were not fitted on is printed without --fit.
CUES: dict[str, Cue] = {
    "asks how": Cue("text", (
            r"(?i)\b(how (do|can|should|to|would|many|much|long|late|often|are|is|does|did|far)|wie (kann|viel|lange|"
            r"oft|geht|steht)|comment (puis|faire|peut)|cómo (puedo|se))\b"
        ), (-0.45, -0.39, 0.84)),
    "asks which": Cue("text", (
            r"(?i)\b((what|which|where|who|whom|when|whats|what's|when's|until when|from which|in which) (is|are|does|"
            r"do|did|can|would|will|should|happens|the|next|i|we|[a-z]+ (do|does|is|are|can|should|may|applies|gives|"
            r"owns|has))|where|who owns|welche[rsnm]?|wo (finde|steht|ist|kann)|bis wann|was (bedeutet|heißt|müssen)|"
            r"quel(le)?s?|où)\b"
        ), (-0.61, -0.36, 0.98)),
    "asks whether": Cue("start", (
            r"(?i)^\W*((hi|hey|hello|quick (q|one|question)|question|one more thing|so|also)[,:]? )*(is|are|do|does|"
            r"can|may|should|am|has|have|will|could|did|gibt es|ist|kann|darf) (i|we|you|it|there|the|this|that|one|a|"
            r"an|our|weekends|anyone|anybody|someone|somebody|es|man|[a-z0-9]+)\b"
        ), (-0.42, -0.25, 0.67)),
    "title is a question": Cue("start", (
            r"\?\s*$"
        ), (-0.31, -0.21, 0.53)),
    "question mark": Cue("text", (
            r"\?"
        ), (-0.81, -0.49, 1.30)),
    "ends with a question": Cue("last", (
            r"\?\W{0,3}((thanks|thank you|regards|best regards|merci|danke|vielen dank|please advise|"
            r"cheers)[^?]{0,60})?$"
        ), (-0.52, -0.28, 0.79)),
    "unsure": Cue("text", (
            r"(?i)\b(confus\w+|clarif\w+|not sure|unsure|understand\w*|wonder\w*|curious|curiosity|trying to|"
            r"am i (missing|doing|supposed)|new (here|to)|first steps|don'?t get|i(['’]m| am) (new|looking)|interpret|"
            r"meaning|explain\w*|explanation|difference)\b"
        ), (-0.50, -0.59, 1.09)),
    "asks for help": Cue("text", (
            r"(?i)\b(any (help|hints?|pointers?|advice|ideas?|pitfalls|experiences?)|any(one|body) (know|have|has|"
            r"running)\w*|(someone|somebody|anyone|anybody) (explain|know|tell|have)|please (advise|explain|tell)|"
            r"could you (please )?(tell|explain)|best practices?|recommended|recommend|thanks in advance|experiences|"
            r"need (information|help|approval)|service request|question|frage|renseignement|documented|documentation|"
            r"could not find|couldn'?t find|can(no|')t find|find an example|example|snippet|tutorial|guide)\b"
        ), (-0.32, -0.51, 0.83)),
    "wants to know": Cue("text", (
            r"(?i)\b(wants? to know|would like to know|asks|asked by|is (it|this|that) (ok|okay|safe|normal|possible|"
            r"allowed|permitted|correct)|are (we|you) allowed|what (happens|would|do others)|procedure for|license|"
            r"pricing|cost|discount|contract|available|guarantee|retention of|difference between|expected latency|"
            r"limits? on)\b"
        ), (-0.68, -0.27, 0.95)),
    "request word": Cue("text", (
            r"(?i)\b(feature(s)?[ -]?(request|idea|wish)?|enhancement|proposal|propose|rfc|idea|suggest\w*|wish\w*|"
            r"wunsch|improvement|story|nice to have|user story|vorschlag|suggestion|acceptance criteria|business case|"
            r"motivation|alternatives|use case|describe the solution|verbesserung|roadmap)\b"
        ), (-0.54, 1.11, -0.57)),
    "would like": Cue("text", (
            r"(?i)\b(would (be|make|help|also|love|like|appreciate|benefit|reduce|save|cut|let|take|allow|allow us)|"
            r"i'?d (love|like)|it'?d be|we'?d (love|like)|(would|could) (be )?(great|nice|helpful|useful|nicer|better|"
            r"sweet|pleasant|handy|cool)|grateful|schön wäre|wäre (es )?(schön|toll|gut|hilfreich)|serait|könnten wir|"
            r"wir bitten um|wäre super|be (great|nice|useful|helpful|pleasant) (if|to)|even better|can we (have|get)|"
            r"could we (have|get|use)|we could use|any chance|happy to (contribute|help)|i can open a pull request|"
            r"save (us|me)|kindly consider|please (add|support|consider|offer|provide|allow|include|print|extend|"
            r"implement)|pls add|let'?s add|how about|why not)\b"
        ), (-1.17, 1.60, -0.43)),
    "imperative": Cue("start", (
            r"(?i)^\W*((feature request|improvement|enhancement|suggestion|proposal|story|idea|request|feature|feat|"
            r"rfc|wish)\W+)?(please |pls )?(add|allow|support|provide|implement|introduce|expose|make|enable|improve|"
            r"extend|offer|include|accept|show|let|use|publish|consider|increase|reduce|sort|group|replace|remember|"
            r"automate|archive|option|ability|possibility|search|bulk|two-way|configurable|customi[sz]able|possibility|"
            r"new (role|field|endpoint|option|button)|support for|automatic|need (a|an|role|to be able)|remove|rename|"
            r"create|display|highlight|integrate|integration|dashboard|switch)\b"
        ), (-0.90, 1.64, -0.74)),
    "lacks": Cue("text", (
            r"(?i)\b(is missing|missing a|are missing|lack(s|ing)?|there is no (way|option|possibility)|no way to|"
            r"at the moment|at present|currently|right now|today (only|everyone|we|my|it)|by hand|manually|"
            r"hard[- ]coded|all or nothing|one has to|we have to (send|do|use|switch)|only possible|bisher nur|"
            r"instead of (having|polling|asking)|so that (i|we|users|customers)|others? (services )?have|has this|"
            r"have it already|competitors?|keep asking|customers ask|requested by|demands it|insists? on|"
            r"legally required|obliged|needed by|recommendation|need to be able|planned|plan a|do you plan)\b"
        ), (-0.76, 1.04, -0.29)),
    "as a": Cue("text", (
            r"(?i)\b(as an? [\w -]{3,30},? (i|we) |i wish|we wish|i want to|we want to (be able|have)|ability to|"
            r"possibility (to|of)|option to|should (remember|be able to|allow|offer|support))\b"
        ), (-0.22, 0.36, -0.14)),
    "ends as a wish": Cue("text", (
            r"(?i)\b(much|more|a lot) (easier|better|shorter|nicer|faster|pleasant|convenient|readable)|hours\b|"
            r"no fun\b|\btrivial\b|constant time"
        ), (-0.15, 0.27, -0.12)),
    "error": Cue("text", (
            r"(?i)\b(errors?|exceptions?|\w+exception|\w+error|stack ?trace|traceback|segfaults?|panic|undefined|"
            r"null ?pointer\w*|nan|ora-\d+|exit code|fehler\w*|erreurs?|throws?|thrown|unhandled|invalid)\b"
        ), (0.53, -0.34, -0.20)),
    "status": Cue("text", (
            r"\b(4(0[0-9]|1[0-9]|2[0-9])|50[0-4])s?\b"
        ), (0.57, -0.20, -0.37)),
    "does not work": Cue("text", (
            r"(?i)\b(fail(s|ed|ing|ure|ures)?|broken|broke|breaks|crash\w*|not work\w*|(does|do|did|is|are|has|have|"
            r"was|were|would|could|will)(n'?t| not) (\w+ )?(work|load|start|open|compile|contain|build|run|fire|"
            r"arrive\w*|appear|show|update\w*|delivered|accept\w*|respond|match|reset|even|change|have|permitted|"
            r"loaded)|stop(s|ped) working|no longer|hangs?|stuck|freez\w*|frozen|dead|closes by itself|kills|killed|"
            r"dies|drops?|dropped|ignor(es|ed)|rejected|refused|refuses|declined|aborted|aborts|truncated|cut off|"
            r"gives up|loses?|lost|vanish\w*|disappear\w*|logged out|logs out|geht (\w+ ){0,4}(nicht|nix)|nix mehr|"
            r"funktioniert (\w+ )?nicht|leaks?|oomkilled)\b"
        ), (1.24, -0.67, -0.57)),
    "cannot": Cue("text", (
            r"(?i)\b(can ?not|can'?t|unable to|impossible|not able to|won'?t)\b"
        ), (0.26, -0.20, -0.06)),
    "wrong": Cue("text", (
            r"(?i)\b(wrong(ly)?|incorrect\w*|off by|garbled|duplicates?d?|twice|two or three times|empty|blank|leer|"
            r"fehlt|faux|falsch\w*|veraltet\w*|mismatch|does not match|do not match|wipe[sd]?|overwritten|replays|NaN|"
            r"0\.00|zero|damaged|weird|something'?s? (is )?(wrong|went wrong|off)|not updated|no (new rows|message|"
            r"output|log|mail|effect|data|invoices)|has no effect|undocumented|expired|falls back|lower-cased|"
            r"instead of|though|although|even though|unexpected|complaint|looks like (data loss|a bug|a regression|"
            r"the guard)|only the|charged|without complaint|misses|without the leading)\b"
        ), (1.51, -0.61, -0.90)),
    "slow": Cue("text", (
            r"(?i)\b(slow(ly)?|takes? (\w+ )?(minutes|forever|ages|\d+ ?s)|time[ds]? ?-?outs?|timed out|"
            r"latency through|spinner (forever|never)|loads? \d+ ?s|p95 like|langsam|lent|hasn'?t loaded|memory grows|"
            r"spinning)\b"
        ), (0.33, -0.02, -0.31)),
    "since": Cue("text", (
            r"(?i)\b(since (this|the|yesterday|monday|tuesday|friday|about|~?\d|last|\w+day)|after (the )?(update|"
            r"upgrade|upgrading|release|failover|changing|resume)|regression|(used to|worked) (work|before)|"
            r"gestern ging|seit (heute|gestern|dem)|depuis hier|started (at |a |this |\d)|introduced with|downgrad\w*|"
            r"roll(ing|ed) back|this morning|last night|again|still (nothing|broken|not)|third time|second time|"
            r"in v\d was|v\d was not)\b"
        ), (0.59, -0.33, -0.26)),
    "report form": Cue("text", (
            r"(?i)(steps to reproduce|to reproduce|expected( behavio(u)?r| result)?\s*[:*\n]|expected\b.{1,80}\bgot\b|"
            r"actual|what happened|repro\b|reproduc\w*|schritte|erwartet|severity|affected:|workaround|"
            r"describe the bug|environment\b|version \d|see (stack|below|attached))"
        ), (0.60, -0.28, -0.32)),
    "urgent": Cue("text", (
            r"(?i)\b(urgent\w*|asap|prod|production|customers are (calling|getting)|complain\w*|angry|down|outage|"
            r"call me back|!!!|lose orders|severity 1|@here)"
        ), (0.46, -0.31, -0.15)),
    "behaves": Cue("text", (
            r"(?i)\b(shows?|says|prints?|returns?|sends?|skips?|hands out|reports|stays|jumps?|displays|closes|"
            r"overwrites|mentions|divides|forgets|mixes|delivers?|reads|chokes|double[sd]|deletes|comes? back|lags?|"
            r"answers?|(is|are|was|were|gets?|got) (printed|rotated|reported|sent|shown|displayed|listed|cut|set|"
            r"shifted|charged|thrown|delivered|flattened|kicked|covered|recognised|saved|stored|removed|calculated|"
            r"open|answered|sold|blocked|stuck))\b"
        ), (0.16, -0.29, 0.13)),
    "denies": Cue("text", (
            r"(?i)\b(not \w+(ed|en|ing)|(does|do|did|is|are|was|were|has|have)(n'?t| not)|cannot|nicht|kein\w*|"
            r"n'est pas|after (the|a|every) \w+)\b"
        ), (0.47, -0.00, -0.46)),
    "compares": Cue("start", (
            r"(?i)\b(too|extra|offline|better|custom|nested|shorter|second|\+1|per|instead of polling|mode|theme|"
            r"operator|provider|plug-?in|integration|alternative)\b"
        ), (-0.28, 0.60, -0.32)),
    "asks to look": Cue("text", (
            r"(?i)\b((can|could) (you|somebody|someone|anybody) (please |pls )?(look|check|have a look|investigate|"
            r"fix)|(please|pls|kindly) (look|check|fix|investigate)|(have|take) a look|look into|bitte (um info|"
            r"prüfen))\b"
        ), (0.02, -0.02, -0.01)),
    "bug word": Cue("text", (
            r"(?i)(^|\W)(\[?bug\]?:?|fix:)\s|\b(bugs?|defect|\[bug\]|problem(s)? (with|mit)|issue with|typo|"
            r"broken link|race condition)\b"
        ), (0.17, -0.10, -0.06)),
    "short": Cue("short", (
            r""
        ), (-0.34, 0.04, 0.30)),
}  # fmt: skip
#: Log-odds of each of KINDS where no cue is met.
PRIOR = (0.52, 0.12, -0.64)

#: Cues that a question mark alone makes; people put one behind a report as well.
_MARKS = ("question mark", "title is a question", "ends with a question", "short")


def places(title: pl.Expr, body: pl.Expr) -> dict[str, pl.Expr]:
    """What the cues look at."""
    text = pl.concat_str([title, body], separator="\n", ignore_nulls=True).fill_null("")
    return {
        "start": pl.coalesce(title, body).fill_null("").str.slice(0, 160),
        "text": text,
        "last": text.str.slice(-160),
        "short": text,
    }


def hits(title: pl.Expr, body: pl.Expr) -> dict[str, pl.Expr]:
    """Whether each cue is met, by name."""
    at = places(title, body)
    return {
        name: at[cue.where].str.len_chars() < 70 if cue.where == "short" else at[cue.where].str.contains(cue.pattern)
        for name, cue in CUES.items()
    }


def kind_by_cues(items: pl.DataFrame) -> pl.DataFrame:
    """One row per item, in order: category (KINDS; null where no cue is met), reason, the cues that speak for it, and asked.

    items: columns title and body. asked: whether it is a question or a wish by its words and not by a question mark alone.
    """
    met = items.select(**hits(pl.col("title"), pl.col("body")))
    odds = [
        pl.lit(prior)
        + pl.sum_horizontal(pl.col(name).cast(pl.Float64) * cue.weights[place] for name, cue in CUES.items())
        for place, prior in enumerate(PRIOR)
    ]
    best = pl.concat_list(odds).list.arg_max()
    asks = pl.any_horizontal(
        pl.col(name) for name, cue in CUES.items() if cue.weights[0] < max(cue.weights) and name not in _MARKS
    )
    trouble = pl.any_horizontal(pl.col(name) for name, cue in CUES.items() if cue.weights[0] == max(cue.weights))
    # "Search is down??" asks nothing.
    best = pl.when((best == 2) & ~asks & trouble).then(0).otherwise(best)
    spoken = pl.any_horizontal(pl.col(name) for name, cue in CUES.items() if cue.where != "short")
    reasons = [
        pl.concat_list(
            pl.when(name).then(pl.lit(name)) for name, cue in CUES.items() if cue.weights[place] == max(cue.weights)
        ).list.drop_nulls()
        for place in range(len(KINDS))
    ]
    chosen = pl.coalesce(pl.when(best == place).then(words) for place, words in enumerate(reasons))
    return met.select(
        category=pl.when(spoken).then(best.replace_strict(dict(enumerate(KINDS)), return_dtype=pl.String)),
        reason=pl.when(spoken).then(pl.format("its words: {}", chosen.list.join(", "))),
        asked=(best > 0) & asks,
    )
