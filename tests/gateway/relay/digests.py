"""Digests of the classes that netvps/gateway/relay/keys.py looks into."""

DIGESTS = {
    "ChachaCipher": "e678065d67f48c01",
    "BasicCipher": "2b6f818bf3219eb2",
    "GCMCipher": "e389d2b5bed8eb41",
    "BasicEncryption": "15eeacf63ec90d6f",
    "ChachaEncryption": "5902581e97e59135",
    "ETMEncryption": "ea0121ae1d035bc2",
    "GCMEncryption": "d255f9e6b1fa73ee",
    "_HMAC": "1de8e893cd46a29c",
}
