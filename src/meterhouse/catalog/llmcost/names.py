"""How providers and models are called, so that usage finds its price (catalog-extras sections 4.1 and 4.4)."""

import re

_PROVIDERS = {
    "azure_ai": "azure",
    "bedrock_converse": "bedrock",
    "amazon-bedrock": "bedrock",
    "gemini": "google",
    "aws": "amazon",
    "facebook": "meta",
    "mistralai": "mistral",
    "x-ai": "xai",
    "nano-gpt": "nanogpt",
    "nano_gpt": "nanogpt",
}
_MODELS = {"deepseek-chat": "deepseek-v3", "deepseek-reasoner": "deepseek-r1"}
_TITLES = {
    "bedrock": "Amazon Bedrock",
    "deepseek": "DeepSeek",
    "minimax": "MiniMax",
    "nanogpt": "NanoGPT",
    "openai": "OpenAI",
    "vertex_ai": "Google Vertex AI",
    "xai": "xAI",
}
_REVISION = re.compile("-v[0-9]+:[0-9]+$")
_DATE = re.compile("-(?:[0-9]{8}|[0-9]{4}-[0-9]{2}-[0-9]{2})$")
_REGION = re.compile(r"^(?:us|eu|ap)\.")
# Longer ones do not fit into an index, and nobody calls a model so.
MAX_NAME = 256
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")
_VERSION = re.compile(r"([0-9])\.([0-9])")


def can_have_price(name: str) -> bool:
    """Tell whether a price can be kept under the name. Events and lists may hold any text."""
    return len(name) <= MAX_NAME and _UNSTORABLE.search(name) is None


def provider_key(provider: str) -> str:
    """Return the one name of a provider. A host of models stays apart from their vendor: its prices differ."""
    key = provider.strip().lower()
    if key.startswith(("vertex_ai-", "vertex_ai_")):
        return "vertex_ai"
    return _PROVIDERS.get(key, key)


def model_key(model: str) -> str:
    """Return the one name of a model, without date, revision and region."""
    key = _REVISION.sub("", model.strip().lower())
    key = _REGION.sub("", _DATE.sub("", key))
    key = _VERSION.sub(r"\1-\2", key)
    return _MODELS.get(key, key)


def provider_title(provider: str) -> str:
    """Return the name of a provider for people."""
    key = provider_key(provider)
    return _TITLES.get(key) or " ".join(part[:1].upper() + part[1:] for part in re.split("[-_]", key))
