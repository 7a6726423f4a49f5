// Package archive lets the kernel read the reference implementation's form of a model, a tar with its own verity tree,
// as a file system, without a server in user space and without a copy of the data (inference.md section 16, image.md
// section 13).
//
// It owns the index of an archive, read once and forwards only, and a small EROFS image of 512-byte blocks that says
// where the members' bytes lie on another device: directories and inodes here, contents there. It trusts the device to
// be opened with verity and still takes the headers for hostile: members, names and sizes are bounded, and everything
// that a model has no use for (links, devices, other owners of a name) is refused. All functions are pure and may run
// concurrently. It mounts nothing; guest/storage does.
package archive
