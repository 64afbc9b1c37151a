//! Where a file's next bytes go, and how large it is by now.

use super::Piece;

/// Follows the pieces of a file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Cursor {
    position: u64,
    size: u64,
}

impl Cursor {
    /// Passes over a piece; gives the offset where it begins.
    pub(crate) fn pass(&mut self, piece: &Piece) -> u64 {
        let offset = self.position;
        match piece {
            Piece::Data(bytes) => self.advance(bytes.len() as u64),
            Piece::Hole(length) => self.advance(*length),
            // That alone does not make a file longer.
            Piece::Seek(to) => self.position = *to,
        }
        offset
    }

    /// Size of the file, holes included.
    pub(crate) const fn size(&self) -> u64 {
        self.size
    }

    fn advance(&mut self, length: u64) {
        self.position = self.position.saturating_add(length);
        self.size = self.size.max(self.position);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hole_makes_a_file_longer_and_a_seek_does_not() {
        let mut cursor = Cursor::default();
        assert_eq!(cursor.pass(&Piece::Data("abc".into())), 0);
        assert_eq!(cursor.pass(&Piece::Hole(5)), 3);
        assert_eq!((cursor.pass(&Piece::Seek(1)), cursor.size()), (8, 8));
        assert_eq!(cursor.pass(&Piece::Data("x".into())), 1);
        cursor.pass(&Piece::Seek(100));
        assert_eq!(cursor.size(), 8);
        assert_eq!((cursor.pass(&Piece::Hole(1)), cursor.size()), (100, 101));
    }
}
