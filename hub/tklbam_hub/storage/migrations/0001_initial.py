# As Django 5.2 writes it.

import django.db.models.deletion
import django.utils.timezone
import tklbam_hub.encrypted
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):

    initial = True

    dependencies = [
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name='Storage',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('name', models.CharField(max_length=80)),
                ('kind', models.CharField(choices=[('path', 'A path: local, mounted, or on a server that clients reach by themselves'), ('s3', 'An S3 bucket')], default='path', max_length=8)),
                ('address', models.CharField(max_length=500)),
                ('is_default', models.BooleanField(default=False, help_text='New backups go here.')),
                ('price_per_gb_month', models.DecimalField(blank=True, decimal_places=5, max_digits=10, null=True)),
                ('currency', models.CharField(default='USD', max_length=3)),
                ('created_at', models.DateTimeField(default=django.utils.timezone.now, editable=False)),
                ('mode', models.CharField(choices=[('assume-role', "STS AssumeRole with a policy for the backup's prefix"), ('federation', "STS GetFederationToken with a policy for the backup's prefix"), ('static', 'Keys that the operator made for each backup')], default='assume-role', max_length=12)),
                ('region', models.CharField(blank=True, default='', max_length=60)),
                ('sts_endpoint', models.CharField(blank=True, default='', help_text="Amazon's when empty.", max_length=300)),
                ('s3_endpoint', models.CharField(blank=True, default='', help_text="Amazon's when empty.", max_length=300)),
                ('role_arn', models.CharField(blank=True, default='', max_length=300)),
                ('external_id', models.CharField(blank=True, default='', max_length=200)),
                ('access_key', models.CharField(blank=True, default='', max_length=200)),
                ('secret_key', tklbam_hub.encrypted.EncryptedField(blank=True, default='')),
                ('session_seconds', models.PositiveIntegerField(default=3600)),
                ('may_delete', models.BooleanField(default=True, help_text='Servers may remove old sessions; without it they add and read, and destroy nothing.')),
                ('account_wide', models.BooleanField(default=True, help_text='Clients that name no backup get credentials for all backups of their key.')),
                ('account', models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.CASCADE, related_name='storages', to=settings.AUTH_USER_MODEL)),
            ],
            options={
                'ordering': ('id',),
            },
        ),
    ]
