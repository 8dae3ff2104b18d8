"""Language tags: what users write (``de``, ``pt-BR``, ``deu``) and what containers hold (ISO 639-2 codes of three letters)."""

from __future__ import annotations

# ISO 639-1 (two letters) followed by ISO 639-2/T (three letters), which MP4 (ISO/IEC 14496-12, 8.4.2.3) and Matroska (RFC 9559) hold.
_CODES = (
    "aaaar ababk aeave afafr akaka amamh anarg arara asasm avava ayaym azaze babak bebel bgbul bibis bmbam bnben bobod brbre bsbos "
    "cacat ceche chcha cocos crcre csces cuchu cvchv cycym dadan dedeu dvdiv dzdzo eeewe elell eneng eoepo esspa etest eueus fafas "
    "ffful fifin fjfij fofao frfra fyfry gagle gdgla glglg gngrn guguj gvglv hahau heheb hihin hohmo hrhrv hthat huhun hyhye hzher "
    "iaina idind ieile igibo iiiii ikipk ioido isisl itita iuiku jajpn jvjav kakat kgkon kikik kjkua kkkaz klkal kmkhm knkan kokor "
    "krkau kskas kukur kvkom kwcor kykir lalat lbltz lglug lilim lnlin lolao ltlit lulub lvlav mgmlg mhmah mimri mkmkd mlmal mnmon "
    "mrmar msmsa mtmlt mymya nanau nbnob ndnde nenep ngndo nlnld nnnno nonor nrnbl nvnav nynya ococi ojoji omorm orori ososs papan "
    "pipli plpol pspus ptpor quque rmroh rnrun roron rurus rwkin sasan scsrd sdsnd sesme sgsag sisin skslk slslv smsmo snsna sosom "
    "sqsqi srsrp ssssw stsot susun svswe swswa tatam tetel tgtgk ththa titir tktuk tltgl tntsn toton trtur tstso tttat twtwi tytah "
    "uguig ukukr ururd uzuzb veven vivie vovol wawln wowol xhxho yiyid yoyor zazha zhzho zuzul "
)
_THREE_LETTERS = {code[:2]: code[2:] for code in _CODES.split()}
#: QuickTime files hold about half of the languages, by codes of their own or by those of ISO 639-2/B.
QUICKTIME_CODES = {
    **{"deu": "ger", "nld": "dut", "ell": "gre", "isl": "ice", "zho": "chi", "mya": "bur", "hye": "arm", "kat": "geo", "mkd": "mac"},
    **{"msa": "may", "fas": "per", "sqi": "alb", "bod": "tib", "cym": "wel", "eus": "baq", "swe": "sve", "nob": "nor", "nno": "nor"},
}


def language_code(tag: str) -> str | None:
    """The three-letter code of a language tag, None where it has none.

    Args:
        tag: ISO 639-1 or 639-2 code, alone or with subtags (``pt-BR``, ``zh_Hant``).
    """
    primary = tag.replace("_", "-").split("-")[0].lower()
    if len(primary) == 3 and primary.isascii() and primary.isalpha():
        return primary
    return _THREE_LETTERS.get(primary)
