"""Domains where anybody gets an address: what one of their users does says nothing about the others."""

from __future__ import annotations

__all__ = ["is_freemail"]

_NAMES = """
    126.com 139.com 163.com abv.bg aim.com alice.it aliceadsl.fr aol.com arcor.de att.net bbox.fr bell.net bigpond.com
    bluewin.ch bol.com.br btinternet.com centrum.cz charter.net comcast.net cox.net daum.net disroot.org duck.com
    earthlink.net email.cz email.de fastmail.com fastmail.fm free.fr freemail.hu freenet.de gmail.com gmx.at gmx.ch
    gmx.com gmx.de gmx.net googlemail.com hanmail.net hey.com hotmail.be hotmail.ch hotmail.co.uk hotmail.com hotmail.de
    hotmail.es hotmail.fr hotmail.it hotmail.nl hushmail.com icloud.com inbox.lv inbox.ru interia.pl keemail.me
    kolabnow.com laposte.net libero.it list.ru live.ca live.co.uk live.com live.de live.fr live.it live.nl mac.com
    mail.com mail.de mail.ee mail.ru mailbox.org mailfence.com mailo.com me.com msn.com naver.com neuf.fr o2.pl onet.pl
    online.de orange.fr outlook.com outlook.de outlook.es outlook.fr outlook.it pm.me poczta.onet.pl posteo.de
    posteo.net proton.me protonmail.ch protonmail.com qq.com rambler.ru rediffmail.com riseup.net rogers.com runbox.com
    sapo.pt sbcglobal.net seznam.cz sfr.fr shaw.ca sina.com sky.com sohu.com startmail.com sympatico.ca t-online.de
    talktalk.net telenet.be telus.net tin.it tiscali.it tuta.com tuta.io tutamail.com tutanota.com tutanota.de ukr.net
    uol.com.br verizon.net virgilio.it vodafone.it wanadoo.fr web.de wp.pl xs4all.nl yahoo.ca yahoo.co.in yahoo.co.jp
    yahoo.co.uk yahoo.com yahoo.com.br yahoo.de yahoo.es yahoo.fr yahoo.it yandex.com yandex.ru yeah.net ymail.com
    ziggo.nl zoho.com zohomail.com zohomail.eu
"""
_DOMAINS = frozenset(_NAMES.split())


def is_freemail(domain: str) -> bool:
    """Of a domain as `normalize_domain` gives it."""
    return domain in _DOMAINS
