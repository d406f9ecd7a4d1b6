"""Turning pending lines into standard invoices (billing sections 5.3 to 5.5)."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace

import structlog

from meterhouse.billing.invoices import repository
from meterhouse.billing.invoices.freezing import customer_party, supplier_party, workflow_of
from meterhouse.billing.invoices.gathering import Gathering
from meterhouse.billing.invoices.lines import default_tax_of, ref_of, show_origin, show_projection
from meterhouse.billing.invoices.machine import Machine
from meterhouse.billing.invoices.models import GATHERING, STANDARD, InvoiceLineRow, InvoiceRow
from meterhouse.billing.invoices.numbers import NumberScope, draw_number
from meterhouse.billing.invoices.selection import BillingRequest, Taken
from meterhouse.billing.invoices.states import State
from meterhouse.billing.ports import AppRef, AppRegistry, LineEngine, LineProjection, LineRef
from meterhouse.billing.profiles import Profile, Profiles
from meterhouse.customers.customer import Customer
from meterhouse.kernel import clock
from meterhouse.kernel.db import WriteSession
from meterhouse.kernel.errors import DomainError, Unavailable
from meterhouse.kernel.ids import new_id
from meterhouse.kernel.jobs import enqueue
from meterhouse.kernel.periods import Period

log = structlog.get_logger(__name__)

INVOICE_CREATED = "billing.invoice_created"

# What a line's remainder takes over when the line is cut.
_INHERITED = (
    "namespace",
    "invoice_id",
    "charge_id",
    "engine",
    "managed_by",
    "name",
    "description",
    "labels",
    "price",
    "feature_key",
    "discounts",
    "unit_conversion",
    "tax_config",
    "subscription",
    "unique_reference_id",
    "invoice_at",
)


@dataclass(frozen=True, slots=True)
class _Valued:
    taken: Taken
    ref: LineRef
    projection: LineProjection


@dataclass(frozen=True, slots=True)
class _Terms:
    profile: Profile
    app: AppRef


class Creation:
    """Makes standard invoices. The caller holds the customer's lock."""

    def __init__(
        self, engine: LineEngine, profiles: Profiles, registry: AppRegistry, gathering: Gathering, machine: Machine
    ) -> None:
        self._engine = engine
        self._profiles = profiles
        self._registry = registry
        self._gathering = gathering
        self._machine = machine

    async def create(
        self, session: WriteSession, namespace: str, customer: Customer, taken: Sequence[Taken], request: BillingRequest
    ) -> list[InvoiceRow]:
        """Move lines to new invoices, one per currency, which rest in `draft.created` or where its entry led.

        Raises:
            DomainError: of the first line, when no line could be valued.
        """
        profile = await self._profiles.merged(session, namespace, customer.id)
        app = await self._app(session, profile)
        by_currency: dict[str, list[Taken]] = defaultdict(list)
        for each in taken:
            by_currency[each.gathering.currency].append(each)
        made: list[InvoiceRow] = []
        errors: list[DomainError] = []
        for currency in sorted(by_currency):
            invoice_id = new_id()
            results = [await self._value(session, one, invoice_id, request) for one in by_currency[currency]]
            errors.extend(result for result in results if isinstance(result, DomainError))
            valued = [result for result in results if isinstance(result, _Valued)]
            if valued:
                made.append(await self._build(session, customer, _Terms(profile, app), invoice_id, valued))
        if not made:
            raise errors[0]
        return made

    async def _app(self, session: WriteSession, profile: Profile) -> AppRef:
        app = await self._registry.find(session, profile.namespace, profile.app_id)
        # A merged profile never names an app that is gone, but the app may be uninstalled in this very moment.
        return app or await self._registry.provision_sandbox(session, profile.namespace)

    async def _value(
        self, session: WriteSession, taken: Taken, invoice_id: str, request: BillingRequest
    ) -> "_Valued | DomainError":
        """Start the charge's run. A charge that fails on its own keeps its line pending, unless it was asked for."""
        whole = taken.period.end >= taken.line.period_end
        ref = replace(
            ref_of(taken.gathering, taken.line),
            invoice_id=invoice_id,
            period=taken.period,
            invoice_at=taken.line.invoice_at if whole else taken.period.end,
        )
        try:
            async with session.begin_nested():
                return _Valued(taken, ref, await self._engine.invoice_created(session, ref))
        except Unavailable:
            raise
        except DomainError as error:
            if request.line_ids is not None:
                raise
            log.warning("pending line passed over", line_id=ref.line_id, charge_id=ref.charge_id, error=error.message)
            return error

    async def _build(
        self,
        session: WriteSession,
        customer: Customer,
        terms: "_Terms",
        invoice_id: str,
        valued: Sequence[_Valued],
    ) -> InvoiceRow:
        gathering = valued[0].taken.gathering
        now = clock.now()
        invoice = InvoiceRow(
            id=invoice_id,
            namespace=customer.namespace,
            kind=STANDARD,
            status=State.DRAFT_CREATED.value,
            customer_id=customer.id,
            customer_name=customer.name,
            currency=gathering.currency,
            number=await draw_number(
                session,
                customer.namespace,
                NumberScope.DRAFT,
                customer_id=customer.id,
                customer_name=customer.name,
                currency=gathering.currency,
            ),
            profile_id=terms.profile.id,
            app_id=terms.app.id,
            app_type=terms.app.type,
            customer=customer_party(customer),
            supplier=supplier_party(terms.profile),
            workflow=workflow_of(terms.profile),
            created_at=now,
            work_at=now,
        )
        session.add(invoice)
        await session.flush()
        for each in valued:
            await self._move(session, invoice, each)
        await self._gathering.recalculate(session, gathering)
        await self._machine.enter(session, invoice, State.DRAFT_CREATED)
        await _announce(session, invoice)
        return invoice

    async def _move(self, session: WriteSession, invoice: InvoiceRow, valued: _Valued) -> None:
        line = valued.taken.line
        rest = Period(valued.ref.period.end, line.period_end)
        remainder = InvoiceLineRow(**{name: getattr(line, name) for name in _INHERITED})
        line.invoice_id, line.invoice_kind = invoice.id, STANDARD
        line.invoice_at = valued.ref.invoice_at
        show_origin(line, await self._engine.origin(session, line.charge_id), default_tax_of(invoice))
        await show_projection(session, line, valued.projection)
        if not rest.is_empty():
            remainder.invoice_kind = GATHERING
            remainder.period_start, remainder.period_end = rest.start, rest.end
            remainder.changed_at = clock.now()
            session.add(remainder)
            await session.flush()


async def _announce(session: WriteSession, invoice: InvoiceRow) -> None:
    """Let the subscriptions behind the lines refill the gathering invoice."""
    lines = await repository.lines(session, [invoice.id])
    subscriptions = sorted({line.subscription.subscription_id for line in lines if line.subscription})
    await enqueue(
        session,
        INVOICE_CREATED,
        {
            "namespace": invoice.namespace,
            "invoice_id": invoice.id,
            "customer_id": invoice.customer_id,
            "subscription_ids": ",".join(subscriptions),
        },
    )
