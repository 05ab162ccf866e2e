-- Users and databases as the image declares them. Run at every boot: what is there already stays.
{%- for name, user in users|items %}
select 'create role "{{ name }}" login' where not exists (select from pg_roles where rolname = '{{ name }}') \gexec
{%- if user.password_file is not none %}
\set password `cat "$CREDENTIALS_DIRECTORY/{{ name }}"`
alter role "{{ name }}" password :'password';
{%- elif user.password %}
\set password `cat "$CREDENTIALS_DIRECTORY/postgresql-{{ name }}"`
alter role "{{ name }}" password :'password';
{%- else %}
alter role "{{ name }}" password null;
{%- endif %}
{%- for role in user.roles %}
grant "{{ role }}" to "{{ name }}";
{%- endfor %}
{%- endfor %}
{%- if metrics is not none %}
select 'create role metrics login' where not exists (select from pg_roles where rolname = 'metrics') \gexec
grant pg_monitor to metrics;
{%- endif %}
{%- for name, database in databases|items %}
select 'create database "{{ name }}" owner "{{ database.owner }}"' where not exists (select from pg_database where datname = '{{ name }}') \gexec
alter database "{{ name }}" owner to "{{ database.owner }}";
{%- endfor %}
