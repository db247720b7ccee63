"""Sending what was noted: one mail an account and run, one webhook call an announcement, tried again at later runs."""

from __future__ import annotations

import logging
from collections import defaultdict
from smtplib import SMTPException

from django.conf import settings
from django.core.mail import EmailMessage
from django.db.models import Q
from django.utils import timezone

from tklbam_hub.accounts.models import Account
from tklbam_hub.notices import text, webhook
from tklbam_hub.notices.models import Notice

log = logging.getLogger(__name__)
MOST_ATTEMPTS = 6


def deliver() -> tuple[int, int]:
    """Sends everything that waits; returns how many announcements arrived and how many did not."""
    waiting = Notice.objects.filter(Q(emailed_at=None) | Q(posted_at=None), attempts__lt=MOST_ATTEMPTS, done=False)
    by_account: dict[Account, list[Notice]] = defaultdict(list)
    for notice in waiting.select_related("backup__account", "session").order_by("pk"):
        by_account[notice.backup.account].append(notice)
    sent = failed = 0
    for account, notices in by_account.items():
        problems = {notice.pk: "" for notice in notices}
        _email(account, notices, problems)
        _post(account, notices, problems)
        for notice in notices:
            notice.problem = problems[notice.pk][:300]
            notice.done = not notice.problem
            notice.attempts += 1
            notice.save(update_fields=["emailed_at", "posted_at", "problem", "done", "attempts"])
            told = notice.emailed_at is not None or notice.posted_at is not None
            sent, failed = sent + (notice.done and told), failed + (not notice.done)
    return sent, failed


def _email(account: Account, notices: list[Notice], problems: dict[int, str]) -> None:
    waiting = [notice for notice in notices if notice.emailed_at is None]
    if not (account.notify_email and account.email and waiting):
        return
    message = EmailMessage(text.subject(waiting), text.body(waiting), to=[account.email])
    try:
        message.send()
    except (SMTPException, OSError) as error:
        log.error("no mail to account %s: %s", account.username, error)
        for notice in waiting:
            problems[notice.pk] = f"e-mail: {type(error).__name__}"
    else:
        for notice in waiting:
            notice.emailed_at = timezone.now()


def _post(account: Account, notices: list[Notice], problems: dict[int, str]) -> None:
    if not account.webhook_url:
        return
    for notice in notices:
        if notice.posted_at is not None:
            continue
        try:
            webhook.post(account.webhook_url, account.webhook_secret, text.payload(notice), settings.WEBHOOK_NETWORKS)
        except webhook.WebhookError as error:
            log.error("no webhook call for account %s: %s", account.username, error)
            problems[notice.pk] = "; ".join(word for word in (problems[notice.pk], f"webhook: {error}") if word)
        else:
            notice.posted_at = timezone.now()
