// Command protogen generates Go code from .proto files without a protoc binary: the files are compiled by a compiler
// written in Go and handed to protoc-gen-go, in the version that go.mod pins, as protoc would hand them over. The output
// depends on nothing but the files and go.mod, so it is the same, byte for byte, on every machine.
//
//	go -C tools/protogen run . [-check] ROOT FILE...
//
// generates FILE.pb.go beside each FILE.proto; the files are named by their slash-separated paths below ROOT, which are
// also the names that they are registered under at run time. With -check it writes nothing and fails if a generated file is
// not up to date.
package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/bufbuild/protocompile"
	"github.com/bufbuild/protocompile/protoutil"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/pluginpb"
)

func main() {
	check := flag.Bool("check", false, "write nothing; fail if a generated file is not up to date")
	flag.Usage = func() {
		fmt.Fprintln(flag.CommandLine.Output(), "usage: protogen [-check] ROOT FILE...")
		flag.PrintDefaults()
	}
	flag.Parse()
	if flag.NArg() < 2 {
		flag.Usage()
		os.Exit(2)
	}
	if err := run(flag.Arg(0), flag.Args()[1:], *check); err != nil {
		fmt.Fprintln(os.Stderr, "protogen:", err)
		os.Exit(1)
	}
}

func run(root string, names []string, check bool) error {
	request, err := compile(root, names)
	if err != nil {
		return err
	}
	response, err := generate(request)
	if err != nil {
		return err
	}
	var stale error
	for _, file := range response.GetFile() {
		path := filepath.Join(root, filepath.FromSlash(file.GetName()))
		content := []byte(file.GetContent())
		if !check {
			if err := os.WriteFile(path, content, 0o644); err != nil {
				return err
			}
			continue
		}
		current, err := os.ReadFile(path)
		if err != nil {
			stale = errors.Join(stale, err)
		} else if !bytes.Equal(current, content) {
			stale = errors.Join(stale, fmt.Errorf("%s is not what its .proto file generates", path))
		}
	}
	return stale
}

// compile returns what protoc would write to a plugin for the named files.
func compile(root string, names []string) (*pluginpb.CodeGeneratorRequest, error) {
	compiler := protocompile.Compiler{
		Resolver: protocompile.WithStandardImports(&protocompile.SourceResolver{ImportPaths: []string{root}}),
		// Comments of the schema become comments of the code.
		SourceInfoMode: protocompile.SourceInfoStandard,
	}
	files, err := compiler.Compile(context.Background(), names...)
	if err != nil {
		return nil, err
	}
	request := &pluginpb.CodeGeneratorRequest{
		FileToGenerate: names,
		Parameter:      proto.String("paths=source_relative"),
	}
	added := make(map[string]bool)
	for _, file := range files {
		addFile(request, added, file)
	}
	return request, nil
}

// addFile adds a file after those that it imports, which is the order that plugins rely on.
func addFile(request *pluginpb.CodeGeneratorRequest, added map[string]bool, file protoreflect.FileDescriptor) {
	if added[file.Path()] {
		return
	}
	added[file.Path()] = true
	for i := range file.Imports().Len() {
		addFile(request, added, file.Imports().Get(i).FileDescriptor)
	}
	request.ProtoFile = append(request.ProtoFile, protoutil.ProtoFromFileDescriptor(file))
}

// generate runs protoc-gen-go.
func generate(request *pluginpb.CodeGeneratorRequest) (*pluginpb.CodeGeneratorResponse, error) {
	input, err := proto.MarshalOptions{Deterministic: true}.Marshal(request)
	if err != nil {
		return nil, err
	}
	plugin := exec.Command("go", "tool", "protoc-gen-go")
	plugin.Stdin = bytes.NewReader(input)
	plugin.Stderr = os.Stderr
	output, err := plugin.Output()
	if err != nil {
		return nil, fmt.Errorf("protoc-gen-go: %w", err)
	}
	var response pluginpb.CodeGeneratorResponse
	if err := proto.Unmarshal(output, &response); err != nil {
		return nil, fmt.Errorf("protoc-gen-go answered garbage: %w", err)
	}
	if response.Error != nil {
		return nil, fmt.Errorf("protoc-gen-go: %s", response.GetError())
	}
	return &response, nil
}
