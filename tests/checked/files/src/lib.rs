//! Each folder is wrong in its own way; its manager still is one, and that is the only error.

use dbm_core::prelude::*;

macro_rules! manager {
    ($name:ident, $($keys:tt)*) => {
        #[derive(DbManager)]
        #[db_manager($($keys)*)]
        pub struct $name {
            core: ManagerCore,
        }

        impl $name {
            #[database_safe]
            pub async fn all(&self, db: &mut ReadTransaction) -> Result<Vec<i64>> {
                db.query("SELECT b FROM a_table_that_is_not_there", ()).await
            }

            pub async fn call(&self) -> Result<Vec<i64>> {
                self.all().await
            }
        }
    };
}

manager!(Syntax, version = "1.0.0", schema = "syntax", checked);
manager!(MissingColumn, version = "1.1.0", schema = "missing_column", checked);
manager!(Constraint, version = "1.1.0", schema = "constraint", checked);
manager!(Begin, version = "1.1.0", schema = "begin", checked);
manager!(View, version = "1.1.0", schema = "view", checked);
manager!(Trigger, version = "1.1.0", schema = "trigger", checked);
manager!(NullColumn, version = "1.1.0", schema = "null_column", checked);
manager!(Rebuild, version = "1.1.0", schema = "rebuild", checked);
manager!(RebuildLost, version = "1.1.0", schema = "rebuild_lost", checked);
manager!(Nul, version = "1.0.0", schema = "nul", checked);
manager!(Named, version = "1.1.0", schema = "named", checked);
manager!(Empty, version = "1.0.0", schema = "empty", checked);
manager!(Missing, version = "1.0.0", schema = "nowhere", checked);
manager!(Unnamed, version = "1.0.0", schema, checked);
manager!(Newest, version = "1.0.0", schema = "newest", checked);
manager!(Behind, version = "1.2.0", schema = "behind", checked);
manager!(NoStep, version = "1.0.0", schema = "missing_after", checked, after("1.1.0" = NoStep::call));
manager!(TwoSteps, version = "1.0.0", schema = "missing_after", after("1.0.0" = a), after("1.0.0" = b));
manager!(Outside, version = "1.0.0", schema = "../outside", checked);
manager!(Misspelt, version = "1.0.0", schema = "missing_after", chekced);
manager!(Odd, version = "1.0.0", schema = "missing_after", checked(loosely));
manager!(NoVersion, schema = "missing_after", checked);
manager!(Elsewhere, version = "1.0.0", schema = "elsewhere");

#[derive(DbManager)]
#[db_manager(version = "1.0.0", checked)]
pub struct NoSchema {
    core: ManagerCore,
}

impl Schema for NoSchema {
    async fn init_db(&self, _: &mut WriteTransaction) -> Result<()> {
        Ok(())
    }
}

#[derive(DbManager)]
#[db_manager(version = "1.0.0", schema = "missing_after", checked)]
pub struct Twice {
    core: ManagerCore,
}

impl Schema for Twice {
    async fn init_db(&self, _: &mut WriteTransaction) -> Result<()> {
        Ok(())
    }
}

manager!(Taken, version = "1.0.0", schema = "taken", checked);
