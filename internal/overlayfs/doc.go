// Package overlayfs is a file system that shows another one and never changes it: what is written, renamed or removed happens in memory
// alone. A log store can thus be opened, with all that its recovery writes, to be looked at by a tool.
//
// A file that is opened for writing, or renamed, is copied into memory first; a removed one is hidden. A lock is taken in the file
// system below, so that a directory in use is noticed, but only on a file that exists there.
//
// Safe for concurrent use. Memory is freed with the last reference.
package overlayfs
