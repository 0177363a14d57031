package logdb

// SpaceReporter is implemented by log stores that can say where their bytes are.
type SpaceReporter interface {
	// Space returns what the store's files take at the moment. Safe for concurrent use.
	Space() (Space, error)
}

// DirectoryReporter is implemented by log stores whose files are not all in the directory that they were opened with.
type DirectoryReporter interface {
	// Directories returns all directories that the store writes to. Safe for concurrent use.
	Directories() []string
}

// Space is what a store's files take.
type Space struct {
	DiskBytes int64 // of all files
	LiveBytes int64 // of what is not compacted, truncated or replaced; headers of the store's own included
	Segments  []Segment
}

// Segment is one file of a store's log.
type Segment struct {
	Name             string
	Bytes, LiveBytes int64
}
