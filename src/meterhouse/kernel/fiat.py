"""The fiat currencies that this server knows, and how their amounts are written (catalog-extras section 2).

ISO 4217 codes, some of them historic, because amounts were once invoiced in them. Digits are what amounts are rounded
to; where they differ from ISO's minor unit (HUF, MGA, MRU) it is because clients that speak this API expect them so.
"""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Fiat:
    """A fiat currency.

    Attributes:
        symbol: None for metals and codes that have none.
        digits: decimals of an amount.
    """

    code: str
    name: str
    symbol: str | None
    digits: int
    decimal_mark: str
    thousand_separator: str


# code, name, symbol, digits
_TABLE = """
AED|United Arab Emirates Dirham|د.إ|2
AFN|Afghan Afghani|؋|2
ALL|Albanian Lek|L|2
AMD|Armenian Dram|֏|2
ANG|Netherlands Antillean Guilder|ƒ|2
AOA|Angolan Kwanza|Kz|2
ARS|Argentine Peso|$|2
AUD|Australian Dollar|$|2
AWG|Aruban Florin|ƒ|2
AZN|Azerbaijani Manat|₼|2
BAM|Bosnia and Herzegovina Convertible Mark|KM|2
BBD|Barbadian Dollar|$|2
BDT|Bangladeshi Taka|৳|2
BGN|Bulgarian Lev|лв|2
BHD|Bahraini Dinar|د.ب|3
BIF|Burundian Franc|Fr|0
BMD|Bermudian Dollar|$|2
BND|Brunei Dollar|$|2
BOB|Boliviano|Bs.|2
BRL|Brazilian Real|R$|2
BSD|Bahamian Dollar|$|2
BTN|Bhutanese Ngultrum|Nu.|2
BWP|Botswana Pula|P|2
BYN|Belarusian Ruble|Br|2
BYR|Belarusian Ruble (2000–2016)|Br|0
BZD|Belize Dollar|$|2
CAD|Canadian Dollar|$|2
CDF|Congolese Franc|Fr|2
CHF|Swiss Franc|CHF|2
CLF|Chilean Unit of Account (UF)|UF|4
CLP|Chilean Peso|$|0
CNY|Chinese Yuan|¥|2
COP|Colombian Peso|$|2
CRC|Costa Rican Colón|₡|2
CUC|Cuban Convertible Peso|$|2
CUP|Cuban Peso|$|2
CVE|Cape Verdean Escudo|$|2
CZK|Czech Koruna|Kč|2
DJF|Djiboutian Franc|Fr|0
DKK|Danish Krone|kr.|2
DOP|Dominican Peso|$|2
DZD|Algerian Dinar|د.ج|2
EGP|Egyptian Pound|ج.م|2
ERN|Eritrean Nakfa|Nfk|2
ETB|Ethiopian Birr|Br|2
EUR|Euro|€|2
FJD|Fijian Dollar|$|2
FKP|Falkland Islands Pound|£|2
GBP|British Pound|£|2
GEL|Georgian Lari|₾|2
GHS|Ghanaian Cedi|₵|2
GIP|Gibraltar Pound|£|2
GMD|Gambian Dalasi|D|2
GNF|Guinean Franc|Fr|0
GTQ|Guatemalan Quetzal|Q|2
GYD|Guyanese Dollar|$|2
HKD|Hong Kong Dollar|$|2
HNL|Honduran Lempira|L|2
HTG|Haitian Gourde|G|2
HUF|Hungarian Forint|Ft|0
IDR|Indonesian Rupiah|Rp|2
ILS|Israeli New Shekel|₪|2
INR|Indian Rupee|₹|2
IQD|Iraqi Dinar|ع.د|3
IRR|Iranian Rial|﷼|2
ISK|Icelandic Króna|kr.|0
JMD|Jamaican Dollar|$|2
JOD|Jordanian Dinar|د.ا|3
JPY|Japanese Yen|¥|0
KES|Kenyan Shilling|KSh|2
KGS|Kyrgyzstani Som|som|2
KHR|Cambodian Riel|៛|2
KMF|Comorian Franc|Fr|0
KPW|North Korean Won|₩|2
KRW|South Korean Won|₩|0
KWD|Kuwaiti Dinar|د.ك|3
KYD|Cayman Islands Dollar|$|2
KZT|Kazakhstani Tenge|₸|2
LAK|Lao Kip|₭|2
LBP|Lebanese Pound|ل.ل|2
LKR|Sri Lankan Rupee|₨|2
LRD|Liberian Dollar|$|2
LSL|Lesotho Loti|L|2
LYD|Libyan Dinar|ل.د|3
MAD|Moroccan Dirham|د.م.|2
MDL|Moldovan Leu|L|2
MGA|Malagasy Ariary|Ar|5
MKD|Macedonian Denar|ден|2
MMK|Myanmar Kyat|K|2
MNT|Mongolian Tögrög|₮|2
MOP|Macanese Pataca|P|2
MRU|Mauritanian Ouguiya|UM|5
MUR|Mauritian Rupee|₨|2
MVR|Maldivian Rufiyaa|MVR|2
MWK|Malawian Kwacha|MK|2
MXN|Mexican Peso|$|2
MYR|Malaysian Ringgit|RM|2
MZN|Mozambican Metical|MTn|2
NAD|Namibian Dollar|$|2
NGN|Nigerian Naira|₦|2
NIO|Nicaraguan Córdoba|C$|2
NOK|Norwegian Krone|kr|2
NPR|Nepalese Rupee|Rs.|2
NZD|New Zealand Dollar|$|2
OMR|Omani Rial|ر.ع.|3
PAB|Panamanian Balboa|B/.|2
PEN|Peruvian Sol|S/|2
PGK|Papua New Guinean Kina|K|2
PHP|Philippine Peso|₱|2
PKR|Pakistani Rupee|₨|2
PLN|Polish Złoty|zł|2
PYG|Paraguayan Guaraní|₲|0
QAR|Qatari Rial|ر.ق|2
RON|Romanian Leu|lei|2
RSD|Serbian Dinar|дин.|2
RUB|Russian Ruble|₽|2
RWF|Rwandan Franc|FRw|0
SAR|Saudi Riyal|ر.س|2
SBD|Solomon Islands Dollar|$|2
SCR|Seychellois Rupee|₨|2
SDG|Sudanese Pound|£|2
SEK|Swedish Krona|kr|2
SGD|Singapore Dollar|$|2
SHP|Saint Helena Pound|£|2
SKK|Slovak Koruna|Sk|2
SLE|Sierra Leonean Leone|Le|2
SLL|Sierra Leonean Leone (1964–2022)|Le|2
SOS|Somali Shilling|Sh|2
SRD|Surinamese Dollar|$|2
SSP|South Sudanese Pound|£|2
STD|São Tomé and Príncipe Dobra (1977–2017)|Db|2
STN|São Tomé and Príncipe Dobra|Db|2
SVC|Salvadoran Colón|₡|2
SYP|Syrian Pound|£S|2
SZL|Swazi Lilangeni|E|2
THB|Thai Baht|฿|2
TJS|Tajikistani Somoni|ЅМ|2
TMT|Turkmenistani Manat|T|2
TND|Tunisian Dinar|د.ت|3
TOP|Tongan Paʻanga|T$|2
TRY|Turkish Lira|₺|2
TTD|Trinidad and Tobago Dollar|$|2
TWD|New Taiwan Dollar|$|2
TZS|Tanzanian Shilling|Sh|2
UAH|Ukrainian Hryvnia|₴|2
UGX|Ugandan Shilling|USh|0
USD|United States Dollar|$|2
UYU|Uruguayan Peso|$|2
UZS|Uzbekistani Soʻm|soʻm|2
VES|Venezuelan Bolívar|Bs.|2
VND|Vietnamese Đồng|₫|0
VUV|Vanuatu Vatu|Vt|0
WST|Samoan Tala|T|2
XAF|Central African CFA Franc|Fr|0
XAG|Silver (troy ounce)|oz t|0
XAU|Gold (troy ounce)|oz t|0
XBA|European Composite Unit||0
XBB|European Monetary Unit||0
XBC|European Unit of Account 9||0
XBD|European Unit of Account 17||0
XCD|East Caribbean Dollar|$|2
XDR|Special Drawing Rights|SDR|0
XOF|West African CFA Franc|Fr|0
XPD|Palladium (troy ounce)||0
XPF|CFP Franc|Fr|0
XPT|Platinum (troy ounce)||0
XTS|Code for testing||0
YER|Yemeni Rial|﷼|2
ZAR|South African Rand|R|2
ZMK|Zambian Kwacha (1968–2012)|ZK|2
ZMW|Zambian Kwacha|K|2
"""

_MARKS = {
    (",", "."): "ANG ARS BRL CLF CLP COP CRC DKK EUR IDR ISK MZN NOK PEN RON RUB TRY UYU VES VND",
    (",", " "): "BYN BYR CZK HUF PLN SEK ZAR",
    (".", "'"): "CHF",
}
_MARKS_OF = {code: marks for marks, codes in _MARKS.items() for code in codes.split()}


def _fiat(line: str) -> Fiat:
    code, name, symbol, digits = line.split("|")
    decimal_mark, thousand_separator = _MARKS_OF.get(code, (".", ","))
    return Fiat(code, name, symbol or None, int(digits), decimal_mark, thousand_separator)


# By code, in order of codes.
FIAT: Mapping[str, Fiat] = {fiat.code: fiat for fiat in map(_fiat, _TABLE.strip().splitlines())}
