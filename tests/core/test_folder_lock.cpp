#include "bliss/core/folder_lock.hpp"

#include "bliss/core/error.hpp"
#include "support/temporary_folder.hpp"

#include <sys/wait.h>
#include <unistd.h>
#include <catch2/catch_test_macros.hpp>

using namespace bliss;
using namespace std::chrono_literals;

TEST_CASE("one process at a time is at work in a folder, and a killed one lets go") {
    const test::TemporaryFolder folder;
    const auto taken = [&](std::chrono::milliseconds patience) {
        try {
            const FolderLock lock{folder.path() / "here", patience};
            return true;
        } catch (const IoError&) {
            return false;
        }
    };
    CHECK(taken(0ms));
    CHECK(taken(0ms));

    int ready[2];
    REQUIRE(::pipe(ready) == 0);
    const pid_t child = ::fork();
    REQUIRE(child >= 0);
    if (child == 0) {
        const FolderLock lock{folder.path() / "here", 0ms};
        (void)!::write(ready[1], "x", 1);
        ::pause();
        ::_exit(0);
    }
    char byte = 0;
    REQUIRE(::read(ready[0], &byte, 1) == 1);
    CHECK_FALSE(taken(60ms));
    ::kill(child, SIGKILL);
    CHECK(taken(10s));
    ::waitpid(child, nullptr, 0);
    ::close(ready[0]);
    ::close(ready[1]);
}

TEST_CASE("a lock makes its folder, and leaves nothing behind but what others put there") {
    const test::TemporaryFolder folder;
    { const FolderLock lock{folder.path() / "a", 0ms}; }
    CHECK_FALSE(std::filesystem::exists(folder.path() / "a"));
    {
        const FolderLock lock{folder.path() / "a", 0ms};
        test::write_bytes(folder.path() / "a" / "kept", "x");
    }
    CHECK_FALSE(std::filesystem::exists(folder.path() / "a" / "lock"));
    CHECK(std::filesystem::exists(folder.path() / "a" / "kept"));
    CHECK_THROWS_AS(FolderLock(folder.path() / "a" / "kept" / "b", 0ms), IoError);
}
