// Package lint holds the house's taste as tests: what a linter from the shelf cannot know about this project. Nothing
// imports it; `make test` runs it like any other package.
//
//   - imports: the table of allowed imports in docs/architecture.md against `go list`
//   - determinism: no goroutine, clock, timer or random source in the engine's core outside the files named for them, and no
//     loop over a map
//   - taste: no sleeping tests, no unfinished remarks, no environment variables, no I prefixes, no stray panics or prints
//   - sizes: files and functions, with a ratchet for what is longer today
//   - documents: direct dependencies against docs/dependencies.md, tests named in docs/guarantees.md and docs/protocol.md and code shown in README.md
//     against the tree, links
//
// A rule is a function from the parsed tree to findings; each has a test that shows it a small file that breaks it, so that no
// rule can rot into one that finds nothing. A finding says what to do instead. Exemptions name a file and give a reason, and an
// exemption that is not needed any more is itself a finding.
package lint
