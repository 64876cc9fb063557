//! Labels whose values are the variants of an enum, so that their number is bounded.

/// The name of a label, and its values.
pub trait Label: Copy + 'static {
    const NAME: &'static str;
    /// In the order of the variants.
    const VALUES: &'static [Self];

    fn value(self) -> &'static str;

    /// Its place in `VALUES`.
    fn index(self) -> usize;
}

/// What tells the metrics of a family apart: one label, or two.
pub trait LabelSet: Copy + 'static {
    fn all() -> impl Iterator<Item = Self>;

    /// Its place in `all`.
    fn index(self) -> usize;

    /// Names and values, in the order in which they are printed.
    fn pairs(self) -> Vec<(&'static str, &'static str)>;
}

impl<L: Label> LabelSet for L {
    fn all() -> impl Iterator<Item = Self> {
        L::VALUES.iter().copied()
    }

    fn index(self) -> usize {
        Label::index(self)
    }

    fn pairs(self) -> Vec<(&'static str, &'static str)> {
        vec![(L::NAME, self.value())]
    }
}

impl<A: Label, B: Label> LabelSet for (A, B) {
    fn all() -> impl Iterator<Item = Self> {
        A::all().flat_map(|a| B::all().map(move |b| (a, b)))
    }

    fn index(self) -> usize {
        Label::index(self.0) * B::VALUES.len() + Label::index(self.1)
    }

    fn pairs(self) -> Vec<(&'static str, &'static str)> {
        [self.0.pairs(), self.1.pairs()].concat()
    }
}

/// Defines an enum as a label: `enum Tier: "tier" { Memory = "memory" }`. `prometheus-client`'s derive prints variants as Rust
/// spells them, which is not how our labels are written.
macro_rules! label {
    (
        $(#[$attribute:meta])*
        $visibility:vis enum $name:ident: $label:literal {
            $($(#[$variant_attribute:meta])* $variant:ident = $value:literal,)+
        }
    ) => {
        $(#[$attribute])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        $visibility enum $name {
            $($(#[$variant_attribute])* $variant,)+
        }

        impl $name {
            /// Every value, in the order of the variants.
            pub const ALL: [Self; [$($value),+].len()] = [$(Self::$variant),+];

            /// As a value of the label.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $value,)+
                }
            }
        }

        impl $crate::metrics::Label for $name {
            const NAME: &'static str = $label;
            const VALUES: &'static [Self] = &Self::ALL;

            fn value(self) -> &'static str {
                self.as_str()
            }

            fn index(self) -> usize {
                self as usize
            }
        }
    };
}

pub(crate) use label;

#[cfg(test)]
mod tests {
    use super::*;

    label! {
        enum Fruit: "fruit" {
            Apple = "apple",
            Pear = "pear",
        }
    }

    label! {
        enum Size: "size" {
            Small = "s",
            Medium = "m",
            Large = "l",
        }
    }

    #[test]
    fn every_pair_has_a_place_of_its_own() {
        let pairs: Vec<_> = <(Fruit, Size)>::all().collect();
        let places: Vec<usize> = pairs.iter().map(|pair| pair.index()).collect();
        assert_eq!(places, [0, 1, 2, 3, 4, 5]);
        assert_eq!(pairs[4].pairs(), [("fruit", "pear"), ("size", "m")]);
    }
}
