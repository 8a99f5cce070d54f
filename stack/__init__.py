"""The local stack: PostgreSQL, Valkey and OpenBao out of wheels, and the processes of Drawbridge beside them.

In tests and benches::

    from stack import Stack

    with Stack.temporary() as stack:              # free ports, own folder, about 3 s; works as root and not
        env = stack.environment()                 # DATABASE_URL, DATABASE_OWNER_URL, VALKEY_URL, OPENBAO_ADDR, ...
        stack.stop("valkey"); stack.start("valkey")        # also "postgres", "openbao"; kill() is kill -9
        with stack.processes("web", "worker-revoke", "worker-issue", "beat") as running:
            running.pid("web")                    # the process itself; brought back when it dies
            running.kill("worker-issue")          # kill -9
            stack.data.log("web").read_text()     # what it wrote

`stack.postgres.connect("warehouse")` is a superuser connection, `stack.postgres.url(dbname, user)` the URL of any role.
In a temporary stack the owner role may create databases, and the app role has its rights in them too (pytest-django).
Nothing that was started outlives its starter, even when that one is killed with -9.

Imports no Django. Needs Linux.
"""

from stack.environment import environment
from stack.errors import StackError
from stack.local import Stack

__all__ = ["Stack", "StackError", "environment"]
