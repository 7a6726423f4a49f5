// Package model turns a folder of model files into the volume that a worker opens: one file with an EROFS image, a
// verity superblock and the hash tree, or the reference implementation's tar and its separate hash file
// (inference.md section 16, image.md section 13).
//
// It owns both forms byte for byte and the description that is published with them: the identity
// `name@commit:roothash` and every file's SHA-256. Volumes are written in one pass over the files and never held in
// memory; the hashes in a description are read back from the finished volume, so they describe what was written even
// if a file changed meanwhile. File names and archives are hostile input: bounded, and an archive must be in the one
// encoding that the writer has. It refuses symlinks, devices and files with two names, and it never downloads.
// Calls may run concurrently on different outputs.
package model
