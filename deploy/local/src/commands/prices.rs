//! `omniroute prices`: what models cost.

use serde_json::{Map, Value, json};
use url::form_urlencoded;

use crate::{
    cli::{PricesAction, SetPrice},
    client::Client,
    context::Context,
    failure::Failure,
    screen,
};

const PATH: &str = "/api/pricing";

pub(crate) async fn run(context: &Context, action: PricesAction) -> Result<(), Failure> {
    let client = Client::new(context)?;
    match action {
        PricesAction::List { provider, own } => list(context, &client, provider, own).await,
        PricesAction::Set(price) => set(context, &client, price).await,
        PricesAction::Unset { provider, model } => {
            let mut query = vec![("provider", provider.as_str())];
            query.extend(model.as_deref().map(|model| ("model", model)));
            let left = client.delete(&with_query(PATH, &query)).await?;
            context.screen.json(&left);
            let what = model.map_or_else(|| format!("the models of {provider}"), |model| format!("{provider}/{model}"));
            context.screen.line(&format!("The prices that come with the program count again for {what}."));
            Ok(())
        }
        PricesAction::History { provider, model } => history(context, &client, &provider, &model).await,
    }
}

async fn list(context: &Context, client: &Client, provider: Option<String>, own: bool) -> Result<(), Failure> {
    let query: Vec<_> = provider.iter().map(|provider| ("provider", provider.as_str())).collect();
    let prices = if own {
        let mut query = query;
        query.push(("own", "true"));
        client.get(&with_query(PATH, &query)).await?
    } else {
        client.get(&with_query(PATH, &query)).await?
    };
    context.screen.json(&prices);
    let mut rows = Vec::new();
    for (provider, models) in prices.as_object().into_iter().flatten() {
        for (model, price) in models.as_object().into_iter().flatten() {
            let cell = |field| screen::text(price, field);
            let name = format!("{provider}/{model}");
            rows.push([name, cell("input"), cell("output"), cell("cached"), cell("cache_creation"), cell("reasoning")]);
        }
    }
    if rows.is_empty() {
        context.screen.line("No price is known there. Set one with `omniroute prices set`.");
        return Ok(());
    }
    context.screen.table(["MODEL", "INPUT", "OUTPUT", "CACHED", "CACHE WRITE", "REASONING"], &rows);
    Ok(())
}

async fn set(context: &Context, client: &Client, price: SetPrice) -> Result<(), Failure> {
    let mut rates = Map::new();
    for (class, rate) in [
        ("input", price.input),
        ("output", price.output),
        ("cached", price.cached),
        ("cache_creation", price.cache_creation),
        ("reasoning", price.reasoning),
    ] {
        if let Some(rate) = rate {
            rates.insert(class.to_owned(), json!(rate));
        }
    }
    let own = client.patch(PATH, &json!({ &price.provider: { &price.model: rates } })).await?;
    context.screen.json(&own);
    context.screen.line(&format!("{}/{} costs that from now on.", price.provider, price.model));
    Ok(())
}

async fn history(context: &Context, client: &Client, provider: &str, model: &str) -> Result<(), Failure> {
    let path = with_query("/api/pricing/history", &[("provider", provider), ("model", model)]);
    let history = client.get(&path).await?;
    context.screen.json(&history);
    let row = |past: &Value| {
        let price = past.get("price").unwrap_or(&Value::Null);
        let until = match screen::text(past, "validUntil") {
            until if until.is_empty() => "now".to_owned(),
            until => until,
        };
        let text = |field| screen::text(past, field);
        [text("source"), text("validFrom"), until, screen::text(price, "input"), screen::text(price, "output")]
    };
    let rows: Vec<_> = screen::list(&history, "prices").iter().map(row).collect();
    context.screen.table(["FROM", "SINCE", "UNTIL", "INPUT", "OUTPUT"], &rows);
    Ok(())
}

fn with_query(path: &str, query: &[(&str, &str)]) -> String {
    if query.is_empty() {
        return path.to_owned();
    }
    let query = form_urlencoded::Serializer::new(String::new()).extend_pairs(query).finish();
    format!("{path}?{query}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_escaped_in_a_query() {
        assert_eq!(with_query("/p", &[]), "/p");
        assert_eq!(with_query("/p", &[("model", "a/b c&d")]), "/p?model=a%2Fb+c%26d");
    }
}
