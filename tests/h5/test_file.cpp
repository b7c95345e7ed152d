#include "bliss/h5/file.hpp"

#include "bliss/comm/agree.hpp"
#include "bliss/core/error.hpp"
#include "bliss/h5/reader.hpp"
#include "h5/example_rows.hpp"
#include "support/shared_folder.hpp"

#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>

#include <sys/resource.h>

#include <chrono>
#include <csignal>
#include <optional>
#include <thread>

using namespace bliss;
using Catch::Matchers::ContainsSubstring;
using test::ExampleRow;

namespace {

/// Message of the error `work` throws; empty when it throws none. Every rank comes back from it.
template <class Work>
std::string error_of(Work&& work) {
    try {
        work();
    } catch (const Error& error) {
        return error.what();
    }
    return {};
}

/// While it lives, writes of this process beyond `bytes` of any file fail.
class FileSizeLimit {
public:
    explicit FileSizeLimit(rlim_t bytes) : old_handler_{std::signal(SIGXFSZ, SIG_IGN)} {
        getrlimit(RLIMIT_FSIZE, &old_);
        const rlimit limit{bytes, old_.rlim_max};
        setrlimit(RLIMIT_FSIZE, &limit);
    }
    FileSizeLimit(const FileSizeLimit&) = delete;
    FileSizeLimit& operator=(const FileSizeLimit&) = delete;
    ~FileSizeLimit() {
        setrlimit(RLIMIT_FSIZE, &old_);
        std::signal(SIGXFSZ, old_handler_);
    }

private:
    rlimit old_{};
    void (*old_handler_)(int);
};

bool same_on_all_ranks(const comm::Communicator& comm, const std::string& text) {
    std::string first = text;
    comm.broadcast(first);
    return comm.all_reduce_min(std::int64_t{first == text}) == 1;
}

void write_file(const std::filesystem::path& path, const comm::Communicator& comm, std::int64_t rows) {
    auto file = h5::File::create(path, comm);
    test::write_example(file, comm, rows, 7);
    file.commit();
}

}  // namespace

TEST_CASE("rows dealt out to the ranks in pieces come back in order") {
    const auto comm = comm::Communicator::world();
    const test::SharedFolder folder{comm};
    const auto path = folder / "a.h5";
    write_file(path, comm, 1000);
    CHECK_FALSE(std::filesystem::exists(folder / "a.h5.partial"));

    const auto reader = h5::Reader::open(path);
    const auto rows = reader.read_rows<ExampleRow>("rows", test::k_example_members);
    CHECK(rows.size() == 1000);
    int wrong = 0;
    for (std::size_t i = 0; i < rows.size(); ++i)
        wrong += !test::same(rows[i], test::example_row(static_cast<std::int64_t>(i)));
    CHECK(wrong == 0);
    CHECK(reader.read_integer_attribute("/", "schema_version") == 7);
    CHECK(reader.read_text_attribute("/", "text") == "a longer text,\nof two lines");
    CHECK(reader.read_text_attribute("/", "empty").empty());
    CHECK(reader.read_number_attribute("rows", "number") == 0.1);
    CHECK(reader.read_text_attribute("rows", "value.unit") == "px");
    CHECK(reader.read_text_attribute("rows", "corners.about") == "an array");
}

TEST_CASE("the bytes do not depend on the number of ranks") {
    const auto comm = comm::Communicator::world();
    const test::SharedFolder folder{comm};
    for (const std::int64_t rows : {0, 5, 3000}) {  // 5: fewer rows than one block, so some ranks have none
        for (int ranks = 1; ranks <= comm.size(); ++ranks) {
            const auto part = comm.split(comm.rank() < ranks ? 0 : 1, comm.rank());
            if (comm.rank() < ranks) write_file(folder / (std::to_string(ranks) + ".h5"), part, rows);
        }
        comm.barrier();
        const std::string one = test::bytes_of(folder / "1.h5");
        CHECK(one.size() > rows * sizeof(ExampleRow));
        for (int ranks = 2; ranks <= comm.size(); ++ranks)
            CHECK((test::bytes_of(folder / (std::to_string(ranks) + ".h5")) == one));
        comm.barrier();
    }
}

TEST_CASE("the bytes do not depend on when the file is written") {
    const auto comm = comm::Communicator::world();
    const test::SharedFolder folder{comm};
    write_file(folder / "before.h5", comm, 20);
    std::this_thread::sleep_for(std::chrono::milliseconds{1100});  // HDF5 would store times in whole seconds
    write_file(folder / "after.h5", comm, 20);
    CHECK((test::bytes_of(folder / "before.h5") == test::bytes_of(folder / "after.h5")));
    comm.barrier();
}

TEST_CASE("a file that cannot be created is one clear error on all ranks") {
    const auto comm = comm::Communicator::world();
    const test::SharedFolder folder{comm};
    const auto path = folder / "no/such/folder/a.h5";
    const std::string message = error_of([&] { h5::File::create(path, comm); });
    CHECK_THAT(message, ContainsSubstring(path.string()) && ContainsSubstring("No such file or directory"));
    CHECK(same_on_all_ranks(comm, message));
}

TEST_CASE("a folder that may not be written is one clear error on all ranks") {
    const auto comm = comm::Communicator::world();
    const test::SharedFolder folder{comm};
    test::TinyDisk disk{comm, folder.path(), "size=64k"};
    if (!disk.mounted()) SKIP("mounting needs root: a read-only folder was NOT tested");
    disk.protect();
    const std::string message = error_of([&] { h5::File::create(folder / "a.h5", comm); });
    CHECK_THAT(message, ContainsSubstring("Read-only file system"));
    CHECK(same_on_all_ranks(comm, message));
}

TEST_CASE("a full disk is one clear error on all ranks and leaves no file") {
    const auto comm = comm::Communicator::world();
    const test::SharedFolder folder{comm};
    for (const char* size : {"size=1m", "size=4k"}) {  // full while rows are written; full already for what describes them
        test::TinyDisk disk{comm, folder.path(), size};
        if (!disk.mounted()) SKIP("mounting needs root: a full disk was NOT tested");
        const std::string message = error_of([&] { write_file(folder / "a.h5", comm, 40000); });
        CHECK_THAT(message, ContainsSubstring("a.h5") && ContainsSubstring("No space left on device"));
        CHECK(same_on_all_ranks(comm, message));
        CHECK_FALSE(std::filesystem::exists(folder / "a.h5"));
        CHECK_FALSE(std::filesystem::exists(folder / "a.h5.partial"));
        // And the ranks, HDF5 and the disk are in a state to go on.
        if (std::string{size} == "size=1m") CHECK(error_of([&] { write_file(folder / "small.h5", comm, 1); }).empty());
    }
}

TEST_CASE("a write that fails half-way is one clear error on all ranks and leaves no file") {
    const auto comm = comm::Communicator::world();
    const test::SharedFolder folder{comm};
    const std::int64_t rows = 40000;
    std::vector<ExampleRow> mine;
    if (comm.rank() == 0)
        for (std::int64_t id = 0; id < rows; ++id) mine.push_back(test::example_row(id));
    const std::vector<h5::RowRange> ranges{{0, std::ssize(mine)}};

    const std::string message = error_of([&] {
        auto file = h5::File::create(folder / "a.h5", comm);
        file.create_rows("rows", test::k_example_members, rows);
        {
            const FileSizeLimit limit{200'000};  // stands for a disk that fills up after the space was found to be there
            file.write_rows("rows", test::k_example_members, ranges, std::as_bytes(std::span{mine}));
        }
        file.commit();
    });
    // With several ranks Open MPI may not tell of the failure; then reading back finds it.
    CHECK_THAT(message, ContainsSubstring("a.h5, rows: cannot write rows") ||
                            ContainsSubstring("a.h5.partial: does not hold what was written"));
    CHECK(same_on_all_ranks(comm, message));
    CHECK(std::filesystem::is_empty(folder.path()));
    CHECK(error_of([&] { write_file(folder / "small.h5", comm, 1); }).empty());
}

TEST_CASE("a failure of one rank before a write reaches all, and an older file stays as it was") {
    const auto comm = comm::Communicator::world();
    const test::SharedFolder folder{comm};
    const auto path = folder / "a.h5";
    write_file(path, comm, 3);
    const std::string before = test::bytes_of(path);
    comm.barrier();
    const int failing = comm.size() - 1;
    const std::string message = error_of([&] {
        auto file = h5::File::create(path, comm);
        file.create_rows("rows", test::k_example_members, 4);
        const std::vector<ExampleRow> rows(1);
        const std::vector<h5::RowRange> beyond{{4, 1}};
        if (comm.rank() == failing)
            file.write_rows("rows", test::k_example_members, beyond, std::as_bytes(std::span{rows}));
        else
            file.write_rows("rows", test::k_example_members, {}, {});
        file.commit();
    });
    CHECK_THAT(message, ContainsSubstring("reach beyond the dataset"));
    CHECK(same_on_all_ranks(comm, message));
    CHECK((test::bytes_of(path) == before));
    CHECK_FALSE(std::filesystem::exists(folder / "a.h5.partial"));
    comm.barrier();
}

TEST_CASE("a file that is dropped without commit leaves nothing") {
    const auto comm = comm::Communicator::world();
    const test::SharedFolder folder{comm};
    {
        auto file = h5::File::create(folder / "a.h5", comm);
        test::write_example(file, comm, 10, 2);
    }
    comm.barrier();
    CHECK(std::filesystem::is_empty(folder.path()));
    comm.barrier();
}

TEST_CASE("a rank that throws with the file open does not hang in the destructor") {
    const auto comm = comm::Communicator::world();
    const test::SharedFolder folder{comm};
    const int thrower = comm.size() - 1;
    // The last rank throws past its open file while the others still hold theirs; the barrier is reached only if its
    // destructor did not wait for them.
    std::optional<h5::File> held = h5::File::create(folder / "a.h5", comm);
    const auto leave_by_exception = [&] {
        try {
            const h5::File mine = std::move(*held);
            held.reset();
            throw std::runtime_error("on this rank only");
        } catch (const std::runtime_error&) {
        }
    };
    if (comm.rank() == thrower) leave_by_exception();
    comm.barrier();
    CHECK_FALSE(std::filesystem::exists(folder / "a.h5.partial"));
    if (comm.rank() != thrower) leave_by_exception();
    comm.barrier();
}
