"""What Alembic runs: the steps asked for, inside the transaction that `serving.log.migrate` began."""

from alembic import context

# Imported by anybody else, a test collector for one, it does nothing.
if hasattr(context, "config"):
    context.configure(connection=context.config.attributes["connection"], transactional_ddl=False)
    context.run_migrations()
