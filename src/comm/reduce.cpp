#include "bliss/comm/communicator.hpp"
#include "bliss/comm/native.hpp"
#include "check.hpp"

#include <algorithm>

namespace bliss::comm {

namespace {

using detail::check;

template <class T>
MPI_Datatype mpi_type() {
    if constexpr (std::is_same_v<T, float>) return MPI_FLOAT;
    if constexpr (std::is_same_v<T, double>) return MPI_DOUBLE;
    if constexpr (std::is_same_v<T, std::int64_t>) return MPI_INT64_T;
}

template <class T>
void reduce_in_place(std::span<T> values, MPI_Op operation, std::int64_t piece_bytes, MPI_Comm comm) {
    const auto piece = static_cast<std::size_t>(std::max<std::int64_t>(1, piece_bytes / std::int64_t{sizeof(T)}));
    for (std::size_t begin = 0; begin < values.size(); begin += piece) {
        const int count = static_cast<int>(std::min(piece, values.size() - begin));
        check(MPI_Allreduce(MPI_IN_PLACE, values.data() + begin, count, mpi_type<T>(), operation, comm), "MPI_Allreduce");
    }
}

template <class T>
T reduce_one(T value, MPI_Op operation, const Communicator& comm) {
    reduce_in_place(std::span{&value, 1}, operation, sizeof(T), native(comm));
    return value;
}

}  // namespace

void Communicator::all_reduce_sum(std::span<float> values) const {
    reduce_in_place(values, MPI_SUM, piece_bytes_, native(*this));
}
void Communicator::all_reduce_sum(std::span<double> values) const {
    reduce_in_place(values, MPI_SUM, piece_bytes_, native(*this));
}
void Communicator::all_reduce_sum(std::span<std::int64_t> values) const {
    reduce_in_place(values, MPI_SUM, piece_bytes_, native(*this));
}

std::int64_t Communicator::all_reduce_sum(std::int64_t value) const { return reduce_one(value, MPI_SUM, *this); }
double Communicator::all_reduce_sum(double value) const { return reduce_one(value, MPI_SUM, *this); }
std::int64_t Communicator::all_reduce_max(std::int64_t value) const { return reduce_one(value, MPI_MAX, *this); }
double Communicator::all_reduce_max(double value) const { return reduce_one(value, MPI_MAX, *this); }
std::int64_t Communicator::all_reduce_min(std::int64_t value) const { return reduce_one(value, MPI_MIN, *this); }
double Communicator::all_reduce_min(double value) const { return reduce_one(value, MPI_MIN, *this); }

std::int64_t Communicator::exclusive_scan_sum(std::int64_t value) const {
    std::int64_t sum = 0;
    check(MPI_Exscan(&value, &sum, 1, MPI_INT64_T, MPI_SUM, native(*this)), "MPI_Exscan");
    return rank() == 0 ? 0 : sum;  // MPI leaves rank 0's result undefined
}

}  // namespace bliss::comm
