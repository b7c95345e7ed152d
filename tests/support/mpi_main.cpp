// main of every test that runs under mpirun: Catch2 inside an MPI environment. Rank 0 reports; another rank's report is
// shown only when it fails. The exit status is the worst of all ranks.
#include "bliss/comm/communicator.hpp"
#include "bliss/comm/environment.hpp"
#include "bliss/core/error.hpp"

#include <catch2/catch_session.hpp>

#include <unistd.h>

#include <cstdio>

namespace {

/// Sends this process's standard output to a temporary file; `show` copies it to standard error.
class HiddenOutput {
public:
    HiddenOutput() : file_{std::tmpfile()} {
        std::fflush(stdout);
        if (file_) dup2(fileno(file_), STDOUT_FILENO);
    }
    void show(int rank) const {
        std::fflush(stdout);
        if (!file_) return;
        std::rewind(file_);
        std::fprintf(stderr, "---- report of rank %d ----\n", rank);
        for (int c = std::fgetc(file_); c != EOF; c = std::fgetc(file_)) std::fputc(c, stderr);
    }

private:
    std::FILE* file_;
};

}  // namespace

int main(int argc, char** argv) {
    try {
        const bliss::comm::Environment environment;
        const auto world = bliss::comm::Communicator::world();
        int result = 0;
        if (world.rank() == 0) {
            result = Catch::Session().run(argc, argv);
        } else {
            const HiddenOutput hidden;
            result = Catch::Session().run(argc, argv);
            if (result != 0) hidden.show(world.rank());
        }
        return static_cast<int>(world.all_reduce_max(std::int64_t{result}));
    } catch (const bliss::Error& error) {
        std::fprintf(stderr, "%s\n", error.what());
        bliss::comm::abort_all_ranks(3);
    }
}
