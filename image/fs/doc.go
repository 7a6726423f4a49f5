// Package fs writes and reads the file system of layers and model volumes: uncompressed EROFS in one small,
// deterministic subset (image.md section 7).
//
// It owns the layout. Write turns a tree into an image as one forward stream; contents are read by reference, a few
// megabytes at a time and on every processor, so neither a tree of large files nor one of many files is held in
// memory. The same tree gives the same bytes. Open reads images of this subset only, for listings and comparison; an
// image is hostile input there: sizes, counts and offsets are bounded before use, a directory is entered once, and
// anything outside the subset is refused, not skipped. A Reader may be used concurrently. The package does not
// mount, compress or repair, and it knows no extended attributes.
package fs
