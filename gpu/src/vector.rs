//! Vectors of texts: made comparable, compared, and written down.

use compact_str::CompactString;
use core::fmt::Write as _;

/// Gives the vector the length 1; `None` if it has no direction, or one that is no number.
pub(crate) fn normalized(mut vector: Vec<f32>) -> Option<Vec<f32>> {
    let length = dot(&vector, &vector).sqrt();
    let has_direction = length > 0.0 && length.is_finite();
    vector
        .iter_mut()
        .for_each(|number| *number = as_f32(f64::from(*number) / length));
    has_direction.then_some(vector)
}

/// The cosine of the angle between two vectors of length 1: from -1, opposite, to 1, the same.
pub(crate) fn cosine(left: &[f32], right: &[f32]) -> f32 {
    as_f32(dot(left, right).clamp(-1.0, 1.0))
}

/// Summed one after the other, in doubles: the same for the same numbers, and their squares do not
/// overflow.
fn dot(left: &[f32], right: &[f32]) -> f64 {
    let pairs = left.iter().zip(right);
    pairs
        .map(|(left, right)| f64::from(*left) * f64::from(*right))
        .sum()
}

#[expect(clippy::cast_possible_truncation, reason = "rounding is meant")]
const fn as_f32(number: f64) -> f32 {
    number as f32
}

/// As a JSON array of numbers, each with as many digits as tell it apart.
pub(crate) fn json(vector: &[f32]) -> CompactString {
    let mut text = CompactString::const_new("[");
    for (index, number) in vector.iter().enumerate() {
        let comma = if index > 0 { "," } else { "" };
        write!(text, "{comma}{number}").expect("writing into memory does not fail");
    }
    text.push(']');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_vector_of_length_one_is_like_itself_and_unlike_its_opposite() {
        let vector = normalized(vec![3.0, -4.0]).unwrap();
        assert_eq!(vector, [0.6, -0.8]);
        let opposite: Vec<f32> = vector.iter().map(|number| -number).collect();
        assert_eq!(cosine(&vector, &vector), 1.0);
        assert_eq!(cosine(&vector, &opposite), -1.0);
        assert_eq!(cosine(&vector, &[0.8, 0.6]), 0.0);
    }

    #[test]
    fn a_vector_without_a_direction_is_none() {
        assert_eq!(normalized(vec![0.0, 0.0]), None);
        assert_eq!(normalized(vec![1.0, f32::NAN]), None);
        assert_eq!(normalized(vec![1.0, f32::INFINITY]), None);
        assert!(normalized(vec![f32::MAX, f32::MAX]).is_some());
    }

    #[test]
    fn a_vector_is_written_as_json() {
        assert_eq!(json(&[0.5, -1e-7, 3e9]), "[0.5,-0.0000001,3000000000]");
        assert_eq!(json(&[]), "[]");
    }
}
