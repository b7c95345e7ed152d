// main of the tests that render: Kokkos runs for their whole life.
#include "bliss/simulator/runtime.hpp"

#include <catch2/catch_session.hpp>

int main(int argc, char** argv) {
    const bliss::simulator::Runtime runtime{0};
    return Catch::Session{}.run(argc, argv);
}
