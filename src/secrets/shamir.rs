//! Shamir's secret sharing in GF(2^8) with the polynomial 0x11B, as SOPS splits a data key among key groups. A share
//! is the values of one polynomial a byte, and then the point at which they were taken.

use zeroize::Zeroizing;

use super::Secret;

/// Multiplies without tables and branches, which would tell the operands by their timing.
fn multiply(mut a: u8, mut b: u8) -> u8 {
    let mut product = 0;
    for _ in 0..8 {
        product ^= a & (b & 1).wrapping_neg();
        let overflow = (a >> 7).wrapping_neg();
        a = (a << 1) ^ (0x1B & overflow);
        b >>= 1;
    }
    product
}

/// The inverse, a^254; that of 0 is 0.
fn invert(a: u8) -> u8 {
    let mut result = 1;
    let mut power = a;
    for _ in 0..7 {
        power = multiply(power, power);
        result = multiply(result, power);
    }
    result
}

/// Splits a secret into `parts`, of which any `threshold` restore it. Both are at least 1 and at most 255.
pub(super) fn split(secret: &Secret, parts: u8, threshold: u8) -> Result<Vec<Secret>, getrandom::Error> {
    let bytes = secret.expose();
    let degree = usize::from(threshold.saturating_sub(1));
    // Coefficients of each byte's polynomial, from the highest down to that of x.
    let coefficients = Secret::random(bytes.len() * degree)?;
    let share = |x: u8| {
        let mut share = Vec::with_capacity(bytes.len() + 1);
        for (at, &byte) in bytes.iter().enumerate() {
            let higher = coefficients.expose().iter().skip(at * degree).take(degree);
            let value = higher.fold(0, |value, &coefficient| multiply(value ^ coefficient, x));
            share.push(value ^ byte);
        }
        share.push(x);
        Secret::new(share)
    };
    Ok((1..=parts).map(share).collect())
}

/// Restores a secret from shares; nothing if they cannot be shares of one secret. Too few shares give another secret.
pub(super) fn combine(shares: &[Secret]) -> Option<Secret> {
    let shares: Vec<(&u8, &[u8])> = shares.iter().map(|share| share.expose().split_last()).collect::<Option<_>>()?;
    let length = shares.first()?.1.len();
    let distinct = |at: usize, x: u8| shares.iter().take(at).all(|(other, _)| **other != x);
    let fits = |(at, (x, values)): (usize, &(&u8, &[u8]))| **x != 0 && values.len() == length && distinct(at, **x);
    if length == 0 || shares.len() < 2 || !shares.iter().enumerate().all(fits) {
        return None;
    }
    let mut secret = Zeroizing::new(vec![0; length]);
    for (x, values) in &shares {
        let others = shares.iter().map(|(other, _)| **other).filter(|other| other != *x);
        // Lagrange's basis polynomial at 0.
        let weight = others.fold(1, |weight, other| multiply(weight, multiply(other, invert(other ^ **x))));
        for (byte, value) in secret.iter_mut().zip(*values) {
            *byte ^= multiply(*value, weight);
        }
    }
    Some(Secret::new(std::mem::take(&mut *secret)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_field_is_that_of_aes() {
        // FIPS 197, 4.2: {57} x {83} = {c1}; {53} and {ca} are inverses.
        assert_eq!(multiply(0x57, 0x83), 0xc1);
        assert_eq!(invert(0x53), 0xca);
        assert!((1..=255).all(|a| multiply(a, invert(a)) == 1));
    }

    #[test]
    fn any_threshold_of_shares_restores_the_secret_and_fewer_do_not() {
        let secret = Secret::from("thirty-two bytes of a data key..");
        let shares = split(&secret, 5, 3).unwrap();
        assert!(shares.iter().zip(1..).all(|(share, x)| share.expose().last() == Some(&x)));
        for wanted in [[0, 1, 2], [4, 2, 0], [1, 3, 4]] {
            let some: Vec<Secret> = wanted.iter().map(|&at: &usize| shares[at].clone()).collect();
            assert_eq!(combine(&some), Some(secret.clone()), "{wanted:?}");
        }
        assert_eq!(combine(&shares), Some(secret.clone()), "all of them");
        assert_ne!(combine(&shares[..2]), Some(secret.clone()));
        assert_eq!(combine(&shares[..1]), None);
        assert_eq!(combine(&[shares[0].clone(), shares[0].clone()]), None, "one share twice");
        assert_eq!(combine(&[shares[0].clone(), Secret::from("x")]), None, "another length");
    }

    proptest::proptest! {
        #[test]
        fn no_shares_make_it_panic(shares in proptest::collection::vec(proptest::collection::vec(0u8.., 0..40), 0..6)) {
            let shares: Vec<Secret> = shares.into_iter().map(Secret::new).collect();
            if let Some(secret) = combine(&shares) {
                assert_eq!(secret.expose().len() + 1, shares[0].expose().len());
            }
        }
    }
}
