"""Addresses of the pages."""

from __future__ import annotations

from django.urls import path

from tklbam_hub.console.views import account, accounts, activity, backup, backups, keys, profiles, session

app_name = "console"
urlpatterns = [
    path("", backups.overview, name="backups"),
    path("sign-in", session.SignIn.as_view(), name="sign-in"),
    path("sign-out", session.sign_out, name="sign-out"),
    path("theme", session.set_theme, name="theme"),
    path("backups/<int:number>", backup.show, name="backup"),
    path("backups/<int:number>/settings", backup.change, name="backup-settings"),
    path("backups/<int:number>/key", backup.download_key, name="backup-key"),
    path("backups/<int:number>/delete", backup.delete, name="backup-delete"),
    path("profiles", profiles.overview, name="profiles"),
    path("profiles/upload", profiles.upload, name="profile-upload"),
    path("profiles/version/<int:pk>", profiles.download, name="profile-download"),
    path("profiles/version/<int:pk>/withdraw", profiles.withdraw, name="profile-withdraw"),
    path("profiles/id/<str:profile_id>", profiles.show, name="profile"),
    path("keys", keys.overview, name="keys"),
    path("keys/<int:pk>/revoke", keys.revoke, name="key-revoke"),
    path("activity", activity.overview, name="activity"),
    path("account", account.overview, name="account"),
    path("accounts", accounts.overview, name="accounts"),
    path("accounts/new", accounts.create, name="account-new"),
    path("accounts/<int:pk>", accounts.change, name="account-change"),
    path("accounts/<int:pk>/password", accounts.set_password, name="account-password"),
]
