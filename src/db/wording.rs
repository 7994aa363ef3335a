//! What results say: the words that many share, with the values of each one.
//!
//! It leaves reading both to `results`. The one thing easy to get wrong: a value that is not found where it should be must not look
//! like one that is empty, for it is what somebody decides by.
use super::results::{ResultRecord, ResultStatus};
use super::staging::SharedComparison;
use crate::reconcile::FieldComparison;
use serde_json::Value;

/// Why a record has no match, in a sentence.
pub(crate) fn why(status: ResultStatus, kind: &str, related: Option<&str>) -> String {
    let other = if status == ResultStatus::UnmatchedLeft { "right" } else { "left" };
    let related = related.map_or_else(String::new, |id| format!(" {id}"));
    match kind {
        "missing" => format!("nothing on the {other} side is like it"),
        "duplicate" => format!("repeats{related} of its own side"),
        "outbid" => format!("its best candidate{related} is a better match for another record"),
        "contra" => format!("undone by{related} of its own side"),
        "unlike" => format!("its best candidate{related} is too unlike"),
        _ => String::new(),
    }
}

/// Comparisons with the values that the records have, and those that the result keeps itself, in their order.
pub(crate) fn compared(
    said: &[SharedComparison],
    kept: &str,
    left: &[ResultRecord],
    right: &[ResultRecord],
) -> Result<Value, String> {
    let kept: Vec<String> = match kept {
        "" => Vec::new(),
        kept => serde_json::from_str(kept).map_err(|error| format!("its values: {error}"))?,
    };
    let mut kept = kept.into_iter();
    let mut value = |records: &[ResultRecord], column: &Option<String>| match column {
        Some(column) => values(records, column),
        None => kept.next().ok_or_else(|| "it keeps too few values".to_owned()),
    };
    let mut comparisons = Vec::with_capacity(said.len());
    for comparison in said {
        comparisons.push(FieldComparison {
            left: value(left, &comparison.left_column)?,
            right: value(right, &comparison.right_column)?,
            ..comparison.said.clone()
        });
    }
    serde_json::to_value(comparisons).map_err(|error| error.to_string())
}

/// The values of a column, joined as the engine does; once when all are the same. A record that is not there is shown as one
/// without cells, and has no value; one that is there has the column, or what is shown would be a value that nobody compared.
fn values(records: &[ResultRecord], column: &str) -> Result<String, String> {
    let mut values = Vec::with_capacity(records.len());
    for record in records {
        values.push(match record.fields.get(column).and_then(Value::as_str) {
            Some(value) => value,
            None if record.fields.is_empty() => "",
            None => return Err(format!("line {} has no column {column:?}, which was compared", record.ordinal)),
        });
    }
    if values.windows(2).all(|two| two[0] == two[1]) {
        values.truncate(1);
    }
    Ok(values.join(" + "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn record(ordinal: u64, fields: &Value) -> ResultRecord {
        let fields = fields.as_object().unwrap().clone();
        ResultRecord { ordinal, id: format!("line {ordinal}"), allocated_minor: None, fields }
    }

    fn shared(left_column: Option<&str>, right_column: Option<&str>) -> SharedComparison {
        let (left, right, level) = (String::new(), String::new(), "equal".into());
        let said = FieldComparison { label: "amount".into(), left, right, level, weight: 3.5 };
        SharedComparison {
            said,
            left_column: left_column.map(str::to_owned),
            right_column: right_column.map(str::to_owned),
        }
    }

    #[test]
    fn values_come_from_the_records_or_the_result_and_are_never_made_up() {
        let left = [record(2, &json!({"amount": "1.00"})), record(3, &json!({"amount": "2.00"}))];
        let right = [record(9, &json!({"sum": "3.00"}))];
        let both = [shared(Some("amount"), Some("sum")), shared(None, Some("sum")), shared(Some("amount"), None)];
        let values = |kept: &str| -> Result<Vec<(Value, Value)>, String> {
            let said = compared(&both, kept, &left, &right)?;
            Ok(said.as_array().unwrap().iter().map(|said| (said["left"].clone(), said["right"].clone())).collect())
        };
        let all = [("1.00 + 2.00", "3.00"), ("own left", "3.00"), ("1.00 + 2.00", "own right")];
        let all = all.map(|(left, right)| (json!(left), json!(right)));
        assert_eq!(values(r#"["own left","own right"]"#).unwrap(), all);
        assert!(values(r#"["own left"]"#).unwrap_err().contains("too few values"));
        assert!(values("").unwrap_err().contains("too few values"));
        let elsewhere = compared(&[shared(Some("total"), Some("sum"))], "", &left, &right).unwrap_err();
        assert!(elsewhere.contains("line 2") && elsewhere.contains("total"), "{elsewhere}");
        // Of a record that is not there nothing is shown at all.
        let gone = compared(&[shared(Some("amount"), Some("sum"))], "", &[record(2, &json!({}))], &right).unwrap();
        assert_eq!(gone[0]["left"], "");
    }
}
