# As Django 5.2 writes it.

import django.db.models.deletion
import django.utils.timezone
import tklbam_hub.encrypted
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):

    initial = True

    dependencies = [
        ('accounts', '0001_initial'),
        ('storage', '0001_initial'),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name='BackupRecord',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('number', models.PositiveIntegerField()),
                ('address', models.CharField(max_length=600)),
                ('key', models.TextField()),
                ('profile_id', models.CharField(max_length=200)),
                ('server_id', models.CharField(blank=True, default='', max_length=200)),
                ('label', models.CharField(blank=True, default='', max_length=200)),
                ('created_at', models.DateTimeField(default=django.utils.timezone.now)),
                ('updated_at', models.DateTimeField(blank=True, help_text='When the last good session ended.', null=True)),
                ('size', models.PositiveBigIntegerField(default=0, help_text='Bytes stored, all chains.')),
                ('in_progress', models.BooleanField(default=False)),
                ('last_session_at', models.DateTimeField(blank=True, null=True)),
                ('last_outcome', models.CharField(blank=True, default='', max_length=12)),
                ('chain_began_at', models.DateTimeField(blank=True, null=True)),
                ('chain_increments', models.PositiveIntegerField(default=0)),
                ('verified_at', models.DateTimeField(blank=True, null=True)),
                ('verified', models.CharField(blank=True, default='', max_length=10)),
                ('overdue_after_hours', models.PositiveIntegerField(blank=True, null=True)),
                ('muted', models.BooleanField(default=False, help_text='Announce nothing about this backup.')),
                ('storage_access_key', models.CharField(blank=True, default='', max_length=200)),
                ('storage_secret_key', tklbam_hub.encrypted.EncryptedField(blank=True, default='')),
                ('account', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='backups', to=settings.AUTH_USER_MODEL)),
                ('api_key', models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='backups', to='accounts.apikey')),
                ('storage', models.ForeignKey(on_delete=django.db.models.deletion.RESTRICT, related_name='backups', to='storage.storage')),
            ],
            options={
                'ordering': ('number',),
            },
        ),
        migrations.CreateModel(
            name='BackupSession',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('started_at', models.DateTimeField(default=django.utils.timezone.now)),
                ('finished_at', models.DateTimeField(blank=True, null=True)),
                ('kind', models.CharField(blank=True, choices=[('', 'unknown'), ('full', 'full'), ('incremental', 'incremental')], default='', max_length=12)),
                ('outcome', models.CharField(choices=[('running', 'running'), ('complete', 'complete'), ('incomplete', 'incomplete'), ('failed', 'failed')], default='running', max_length=12)),
                ('added', models.PositiveBigIntegerField(blank=True, null=True)),
                ('total', models.PositiveBigIntegerField(blank=True, null=True)),
                ('message', models.CharField(blank=True, default='', max_length=1000)),
                ('backup', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='sessions', to='records.backuprecord')),
            ],
            options={
                'ordering': ('-started_at', '-id'),
            },
        ),
        migrations.AddConstraint(
            model_name='backuprecord',
            constraint=models.UniqueConstraint(fields=('account', 'number'), name='one_number_an_account'),
        ),
        migrations.AddConstraint(
            model_name='backuprecord',
            constraint=models.UniqueConstraint(fields=('account', 'address'), name='one_record_an_address'),
        ),
        migrations.AddIndex(
            model_name='backupsession',
            index=models.Index(fields=['backup', '-started_at'], name='sessions_of_a_backup'),
        ),
    ]
