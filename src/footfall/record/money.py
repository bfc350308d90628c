"""Money: exact minor units, by the exponents of ISO 4217 (list one, amendment 176)."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation, Overflow

from footfall.errors import ConfigError, InputError

# Currencies whose minor unit is not a hundredth. Every other code has two decimals.
_EXPONENTS: dict[str, int] = {
    **dict.fromkeys(("BIF", "CLP", "DJF", "GNF", "ISK", "JPY", "KMF", "KRW", "PYG", "RWF", "UGX", "UYI", "VND"), 0),
    **dict.fromkeys(("VUV", "XAF", "XOF", "XPF"), 0),
    **dict.fromkeys(("BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND"), 3),
    **dict.fromkeys(("CLF", "UYW"), 4),
}
_TWO_DECIMALS_TEXT = """
AED AFN ALL AMD AOA ARS AUD AWG AZN BAM BBD BDT BGN BMD BND BOB BOV BRL BSD BTN BWP BYN BZD CAD CDF
CHE CHF CHW CNY COP COU CRC CUP CVE CZK DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GTQ
GYD HKD HNL HTG HUF IDR ILS INR IRR JMD KES KGS KHR KPW KYD KZT LAK LBP LKR LRD LSL MAD MDL MGA MKD
MMK MNT MOP MRU MUR MVR MWK MXN MXV MYR MZN NAD NGN NIO NOK NPR NZD PAB PEN PGK PHP PKR PLN QAR RON
RSD RUB SAR SBD SCR SDG SEK SGD SHP SLE SOS SRD SSP STN SVC SYP SZL THB TJS TMT TOP TRY TTD TWD TZS
UAH USD USN UYU UZS VED VES WST XCD XCG YER ZAR ZMW ZWG
"""
_TWO_DECIMALS = frozenset(_TWO_DECIMALS_TEXT.split())
# A binary float such as 19.989999999999998 is off by far less than this; a third decimal is off by far more.
NOISE = Decimal("0.000001")


def exponent(currency: str) -> int:
    """Decimals of a currency's minor unit: USD 2, JPY 0, KWD 3.

    Raises ConfigError for a code that is not in ISO 4217.
    """
    if currency in _EXPONENTS:
        return _EXPONENTS[currency]
    if currency in _TWO_DECIMALS:
        return 2
    raise ConfigError(f"unknown currency {currency!r}", "use an ISO 4217 code such as USD, EUR, JPY or TWD")


def to_minor(amount: str | int | float | Decimal, currency: str) -> int:
    """Major units, as text or number with a decimal point, to exact minor units.

    Noise of a binary float (within a millionth of a minor unit) is rounded away; more decimals than the currency has
    are refused. Raises InputError naming the amount.
    """
    digits = exponent(currency)
    try:
        minor = Decimal(str(amount).strip()).scaleb(digits)
    except (InvalidOperation, Overflow):
        raise InputError(f"{amount!r} is no amount of money", "write a plain number such as 1234.50") from None
    if not minor.is_finite() or abs(minor) >= Decimal(2) ** 63:
        raise InputError(
            f"amount {amount!r} is not finite, or too large to be money", "use a plain number such as 1234.50"
        )
    nearest = minor.to_integral_value()
    if abs(minor - nearest) > NOISE:
        raise InputError(
            f"amount {amount!r} has more decimals than {currency} has ({digits})",
            "round it where it comes from: money is kept exactly",
        )
    return int(nearest)


def to_major(minor: int, currency: str) -> Decimal:
    """Minor units to major units, exactly."""
    return Decimal(minor).scaleb(-exponent(currency))
