//! What is decided about outbound proxies.

use std::{sync::Arc, time::Duration};

use omniroute_core::settings::Secret;
use omniroute_egress::{EgressError, OutboundProxy, ProxySpec};

use super::{
    Egress,
    record::{AssignmentRecord, Credentials, ProxyDraft, ProxyPatch, ProxyRecord, Scope},
    references::release,
    rows::{self, AssignmentFilter, Proxies},
};
use crate::{
    http::{ApiError, Code},
    store::{EgressOutcome, StoreError, Write, records::Actor},
};

/// What stands in an answer for a credential; in an edit it means the one that is stored.
pub(super) const MASK: &str = "***";

/// What a connection is called through, as things stand.
#[derive(Clone, Debug)]
pub struct Resolved {
    /// The assignment that counts, and its proxy; `None`: providers are called directly.
    pub assigned: Option<(AssignmentRecord, ProxyRecord)>,
    /// Why it cannot be used, so that the connection is not called at all.
    pub problem: Option<String>,
}

/// What becomes of several assignments.
#[derive(Debug, Default)]
pub(super) struct BulkResult {
    pub(super) updated: u64,
    /// Scopes that were not assigned, and why.
    pub(super) failed: Vec<(String, String)>,
}

// === impl Egress ===

impl Egress {
    /// # Errors
    /// When the database fails.
    pub(super) async fn page(&self, limit: u64, offset: u64) -> Result<(Vec<ProxyRecord>, u64), ApiError> {
        Ok(Proxies::of(&self.store).page(limit, offset).await?)
    }

    /// # Errors
    /// 404.
    pub(super) async fn get(&self, id: &str) -> Result<ProxyRecord, ApiError> {
        found(Proxies::of(&self.store).get(id).await)
    }

    /// # Errors
    /// 404.
    pub(super) async fn where_used(&self, id: &str) -> Result<Vec<AssignmentRecord>, ApiError> {
        self.get(id).await?;
        let filter = AssignmentFilter { proxy_id: Some(id.to_owned()), ..AssignmentFilter::default() };
        Ok(Proxies::of(&self.store).assignments(&filter).await?)
    }

    /// Makes a proxy, and assigns it if that is asked for, both or neither.
    ///
    /// # Errors
    /// 400 for a field.
    pub(super) async fn create(
        &self,
        actor: &Actor,
        draft: ProxyDraft,
        scope: Option<Scope>,
    ) -> Result<(ProxyRecord, Option<AssignmentRecord>), ApiError> {
        self.check(&spec_of(&draft))?;
        let mut write = self.store.write(actor).await?;
        let proxy = rows::create(&mut write, draft).await?;
        let assignment = self.assign_in(&mut write, scope, &proxy.id).await?;
        write.commit().await?;
        Ok((proxy, assignment))
    }

    /// Changes what the patch names.
    ///
    /// # Errors
    /// 404, 400 for a field. Credentials are not sent to another place than that for which they were stored.
    pub(super) async fn update(
        &self,
        actor: &Actor,
        id: &str,
        patch: ProxyPatch,
        scope: Option<Scope>,
    ) -> Result<(ProxyRecord, Option<AssignmentRecord>), ApiError> {
        let mut write = self.store.write(actor).await?;
        let proxy = self.update_in(&mut write, id, patch).await?;
        let assignment = self.assign_in(&mut write, scope, id).await?;
        write.commit().await?;
        Ok((proxy, assignment))
    }

    /// As [`Self::update`], in a transaction.
    pub(super) async fn update_in(
        &self,
        write: &mut Write,
        id: &str,
        mut patch: ProxyPatch,
    ) -> Result<ProxyRecord, ApiError> {
        let held = rows::find(write, id).await?.ok_or_else(|| ApiError::not_found("Proxy"))?;
        patch.username = patch.username.filter(|username| username.expose() != MASK);
        patch.password = patch.password.filter(|password| password.expose() != MASK);
        let kind = patch.kind.as_deref().unwrap_or(&held.kind);
        let host = patch.host.as_deref().unwrap_or(&held.host);
        let port = patch.port.unwrap_or(held.port);
        let keeps_one =
            (held.has_username && patch.username.is_none()) || (held.has_password && patch.password.is_none());
        if keeps_one && !held.is_at(kind, host, port) {
            return Err(ApiError::invalid_field(
                "host",
                "is another place, and stored credentials are not sent there: give `username` and `password` along (empty \
                 ones if it needs none)",
            ));
        }
        // What is kept was checked when it was stored.
        let spec = ProxySpec {
            kind,
            host,
            port: port.into(),
            username: patch.username.as_ref().map_or("", Secret::expose),
            password: patch.password.as_ref().map_or("", Secret::expose),
            family: patch.family.as_deref().unwrap_or(&held.family),
        };
        self.check(&spec)?;
        Ok(rows::update(write, id, patch).await?)
    }

    /// Deletes a proxy; with `force` its assignments too, and what they were for is called as what remains says.
    ///
    /// # Errors
    /// 404; 409 while something is assigned to it, without `force`.
    pub(super) async fn delete(&self, actor: &Actor, id: &str, force: bool) -> Result<(), ApiError> {
        let mut write = self.store.write(actor).await?;
        if rows::find(&mut write, id).await?.is_none() {
            return Err(ApiError::not_found("Proxy"));
        }
        let assignments = rows::assignments_of(&mut write, id).await?;
        if !assignments.is_empty() && !force {
            return Err(ApiError::new(
                Code::Conflict,
                format!(
                    "The proxy is in use by {} assignment{}; take them away first, or delete with force=1",
                    assignments.len(),
                    if assignments.len() == 1 { "" } else { "s" }
                ),
            ));
        }
        for assignment in &assignments {
            rows::unassign(&mut write, &assignment.scope).await?;
        }
        rows::delete(&mut write, id).await?;
        write.commit().await?;
        Ok(())
    }

    /// Has what is in a scope go through a proxy, or through none of its own.
    ///
    /// # Errors
    /// 404 for the proxy, 400 for a scope that there is not.
    pub(super) async fn assign(
        &self,
        actor: &Actor,
        scope: Scope,
        proxy: Option<&str>,
    ) -> Result<Option<AssignmentRecord>, ApiError> {
        let mut write = self.store.write(actor).await?;
        let assignment = match proxy {
            Some(proxy) => {
                if rows::find(&mut write, proxy).await?.is_none() {
                    return Err(ApiError::not_found("Proxy"));
                }
                self.assign_in(&mut write, Some(scope), proxy).await?
            }
            None => {
                let scope = self.named(&mut write, scope).await?;
                release(&mut write, &scope).await?;
                None
            }
        };
        write.commit().await?;
        Ok(assignment)
    }

    /// As [`Self::assign`], for several scopes; those that there are not are told.
    ///
    /// # Errors
    /// When the database fails; nothing has changed then.
    pub(super) async fn assign_all(
        &self,
        actor: &Actor,
        scopes: Vec<(String, Scope)>,
        proxy: Option<&str>,
    ) -> Result<BulkResult, ApiError> {
        let mut write = self.store.write(actor).await?;
        let mut result = BulkResult::default();
        let is_missing = match proxy {
            Some(proxy) => rows::find(&mut write, proxy).await?.is_none(),
            None => false,
        };
        for (given, scope) in scopes {
            if is_missing {
                result.failed.push((given, "Proxy not found".to_owned()));
                continue;
            }
            let Some(scope) = self.known(&mut write, scope).await? else {
                result.failed.push((given, "There is no such provider, connection or combo".to_owned()));
                continue;
            };
            // What was made for a level goes with it.
            match proxy {
                Some(proxy) => self.replace(&mut write, scope, proxy).await.map(drop)?,
                None => release(&mut write, &scope).await?,
            }
            result.updated += 1;
        }
        write.commit().await?;
        Ok(result)
    }

    /// Assigns within a transaction.
    pub(super) async fn assign_in(
        &self,
        write: &mut Write,
        scope: Option<Scope>,
        proxy: &str,
    ) -> Result<Option<AssignmentRecord>, ApiError> {
        let Some(scope) = scope else { return Ok(None) };
        let scope = self.named(write, scope).await?;
        Ok(Some(self.replace(write, scope, proxy).await?))
    }

    async fn replace(&self, write: &mut Write, scope: Scope, proxy: &str) -> Result<AssignmentRecord, StoreError> {
        let held = rows::find_assignment(write, &scope).await?;
        if held.is_some_and(|held| held.proxy_id != proxy) {
            release(write, &scope).await?;
        }
        rows::assign(write, scope, proxy).await
    }

    /// The scope by the id of what it is for.
    ///
    /// # Errors
    /// 400 when there is no such thing.
    pub(super) async fn named(&self, write: &mut Write, scope: Scope) -> Result<Scope, ApiError> {
        let word = scope.word();
        self.known(write, scope).await?.ok_or_else(|| {
            let what = match word {
                "account" => "connection",
                word => word,
            };
            ApiError::invalid_field("scopeId", format!("there is no {what} with this id"))
        })
    }

    async fn known(&self, write: &mut Write, scope: Scope) -> Result<Option<Scope>, StoreError> {
        Ok(match scope {
            Scope::Global => Some(Scope::Global),
            Scope::Provider(name) => self.scopes.provider(write, &name).await?.map(Scope::Provider),
            Scope::Account(id) => self.scopes.has_connection(write, &id).await?.then_some(Scope::Account(id)),
            // No combos choose connections yet.
            Scope::Combo(_) => None,
        })
    }

    /// # Errors
    /// When the database fails.
    pub(super) async fn assignments(&self, filter: &AssignmentFilter) -> Result<Vec<AssignmentRecord>, ApiError> {
        Ok(Proxies::of(&self.store).assignments(filter).await?)
    }

    /// What a connection is called through. `connection` may be one that is not stored.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn resolve(&self, connection: &str, provider: &str) -> Result<Resolved, StoreError> {
        let proxies = Proxies::of(&self.store);
        let applying = proxies.applying(connection, provider).await?;
        let nearness = |assignment: &AssignmentRecord| match assignment.scope {
            Scope::Account(_) => 0,
            Scope::Combo(_) => 1,
            Scope::Provider(_) => 2,
            Scope::Global => 3,
        };
        let Some(assignment) = applying.into_iter().min_by_key(nearness) else {
            return Ok(Resolved { assigned: None, problem: None });
        };
        let proxy = match proxies.get(&assignment.proxy_id).await {
            Ok(proxy) => proxy,
            // Taken away between the two looks.
            Err(StoreError::NotFound { .. }) => return Ok(Resolved { assigned: None, problem: None }),
            Err(error) => return Err(error),
        };
        let problem = (!proxy.is_active()).then(|| {
            format!(
                "the outbound proxy `{}` is {}, and nothing that is assigned to it is called without it",
                proxy.name, proxy.status
            )
        });
        Ok(Resolved { assigned: Some((assignment, proxy)), problem })
    }

    /// What a connection is called through by this process; `None`: directly. The connection may be one that is not stored.
    ///
    /// # Errors
    /// With a sentence for the operator when it is not to be called.
    pub async fn way(&self, connection: &str, provider: &str) -> Result<Option<Arc<OutboundProxy>>, String> {
        let resolved = self.resolve(connection, provider).await.map_err(|error| error.to_string())?;
        if let Some(problem) = resolved.problem {
            return Err(problem);
        }
        let Some((_, proxy)) = resolved.assigned else { return Ok(None) };
        let credentials = Proxies::of(&self.store).credentials(&proxy.id).await.map_err(|error| error.to_string())?;
        self.compiled(&proxy, &credentials).map(|proxy| Some(Arc::new(proxy)))
    }

    fn compiled(&self, proxy: &ProxyRecord, credentials: &Credentials) -> Result<OutboundProxy, String> {
        let spec = proxy.spec(credentials);
        OutboundProxy::compile(&*proxy.id, &spec, self.address_policy(), Arc::default()).map_err(|error| {
            format!("the outbound proxy `{}` cannot be used: its {} {error}", proxy.name, error.field())
        })
    }

    /// Notes what became of a call through a proxy. `None`: it was answered.
    pub async fn note(&self, proxy: &str, error: Option<EgressError>, took: Duration) {
        let outcome = match error {
            None => EgressOutcome::Succeeded,
            Some(EgressError::Timeout) => EgressOutcome::TimedOut,
            // Says nothing of the proxy.
            Some(EgressError::TargetForbidden | EgressError::TooLarge) => return,
            Some(_) => EgressOutcome::Failed,
        };
        if let Err(error) = self.store.egress_health().tested(proxy, outcome, took).await {
            tracing::warn!(%error, proxy, "a test of an outbound proxy is not noted");
        }
    }

    /// Whether this can be a proxy.
    pub(super) fn check(&self, spec: &ProxySpec<'_>) -> Result<(), ApiError> {
        let compiled = OutboundProxy::compile("", spec, self.address_policy(), Arc::default());
        compiled.map(drop).map_err(|error| ApiError::invalid_field(error.field(), error.to_string()))
    }
}

fn found(proxy: Result<ProxyRecord, StoreError>) -> Result<ProxyRecord, ApiError> {
    proxy.map_err(|error| match error {
        StoreError::NotFound { .. } => ApiError::not_found("Proxy"),
        other => other.into(),
    })
}

fn spec_of(draft: &ProxyDraft) -> ProxySpec<'_> {
    ProxySpec {
        kind: &draft.kind,
        host: &draft.host,
        port: draft.port.into(),
        username: draft.credentials.username.expose(),
        password: draft.credentials.password.expose(),
        family: &draft.family,
    }
}
