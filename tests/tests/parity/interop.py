"""Opens a database with the reference and tells as JSON what happened.

Usage: interop.py PACKAGES DIRECTORY VERSION [ID]; with an ID it adds that note.
"""

import asyncio
import importlib.machinery
import json
import sys
import __future__

packages, directory, target, *new = sys.argv[1:]
sys.path.insert(0, packages)
sys.dont_write_bytecode = True

# 0.2.1 names its class inside of itself, which Python evaluates lazily only from 3.14 on.
importlib.machinery.SourceFileLoader.source_to_code = lambda self, data, path, *, _optimization=-1: compile(
    data, path, "exec", flags=__future__.annotations.compiler_flag, dont_inherit=True, optimize=_optimization
)

from smdb_db_manager import DBManager, Version  # noqa: E402

calls, complaints = [], []


class Logger:
    def trace(self, *_):
        pass

    debug = info = trace

    def warning(self, *text):
        complaints.append(" ".join(map(str, text)))

    error = exception = warning


class Store(DBManager):
    current_version = Version(1, 0, 0)

    @DBManager.async_database_safe
    @DBManager.async_during_init
    @DBManager.async_timed
    @DBManager.fail_with_exception
    async def init_db(self):
        calls.append("init_db")
        await self.db.execute("CREATE TABLE note (id INTEGER PRIMARY KEY, text TEXT NOT NULL) STRICT")
        await self.db.commit()

    @DBManager.async_database_safe
    @DBManager.async_during_init
    @DBManager.async_timed
    @DBManager.fail_with_exception
    async def migrate_db(self, current, target):
        calls.append(f"migrate_db({current}, {target})")
        await self.db.execute(f"ALTER TABLE note ADD COLUMN since_{target.major}_{target.minor} INTEGER")
        await self.db.commit()
        return True

    @DBManager.async_database_safe
    async def add(self, id):
        await self.db.execute("INSERT INTO note (id, text) VALUES (?, ?)", (id, "from Python"))
        await self.db.commit()
        return True

    @DBManager.async_database_safe
    async def ids(self):
        return [row[0] for row in await self.db.execute_fetchall("SELECT id FROM note ORDER BY id")]


async def main():
    told = {"calls": calls, "complaints": complaints}
    try:
        store = await Store.create(Logger(), directory, version=Version(*map(int, target.split("."))))
    except Exception as error:
        return told | {"error": str(error)}
    for id in new:
        await store.add(int(id))
    told |= {"ids": await store.ids(), "version": str(await store.get_version())}
    await store.close()
    return told | {"status": store.status.name}


print(json.dumps(asyncio.run(main())))
