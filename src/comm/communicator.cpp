#include "bliss/comm/communicator.hpp"

#include "bliss/comm/native.hpp"
#include "bliss/core/error.hpp"
#include "check.hpp"

#include <algorithm>
#include <exception>
#include <limits>

namespace bliss::comm {

using detail::check;

struct Communicator::Handle {
    Handle() = default;
    Handle(const Handle&) = delete;
    Handle& operator=(const Handle&) = delete;
    ~Handle() {
        int ended = 0;
        if (comm == MPI_COMM_NULL || std::uncaught_exceptions() > exceptions_at_start) return;
        if (MPI_Finalized(&ended) == MPI_SUCCESS && !ended) MPI_Comm_free(&comm);
    }

    MPI_Comm comm = MPI_COMM_NULL;
    int exceptions_at_start = std::uncaught_exceptions();
};

namespace {

/// Calls `transfer(begin, count)` for each piece of `bytes` bytes.
template <class Transfer>
void in_pieces(std::int64_t bytes, std::int64_t piece_bytes, Transfer&& transfer) {
    for (std::int64_t begin = 0; begin < bytes; begin += piece_bytes)
        transfer(begin, static_cast<int>(std::min(piece_bytes, bytes - begin)));
}

constexpr int k_gather_tag = 32767;  // the greatest that every MPI has; users stay below

}  // namespace

Communicator::Communicator(std::unique_ptr<Handle> handle) : handle_{std::move(handle)} {
    // A communicator inherits the error handler; set it all the same, since the default one never returns.
    check(MPI_Comm_set_errhandler(handle_->comm, MPI_ERRORS_RETURN), "MPI_Comm_set_errhandler");
    check(MPI_Comm_rank(handle_->comm, &rank_), "MPI_Comm_rank");
    check(MPI_Comm_size(handle_->comm, &size_), "MPI_Comm_size");
}

Communicator::Communicator(Communicator&&) noexcept = default;
Communicator& Communicator::operator=(Communicator&&) noexcept = default;
Communicator::~Communicator() = default;

Communicator Communicator::world() {
    auto handle = std::make_unique<Handle>();
    check(MPI_Comm_dup(MPI_COMM_WORLD, &handle->comm), "MPI_Comm_dup");
    return Communicator{std::move(handle)};
}

Communicator Communicator::self() {
    auto handle = std::make_unique<Handle>();
    check(MPI_Comm_dup(MPI_COMM_SELF, &handle->comm), "MPI_Comm_dup");
    return Communicator{std::move(handle)};
}

Communicator Communicator::duplicate() const {
    auto handle = std::make_unique<Handle>();
    check(MPI_Comm_dup(handle_->comm, &handle->comm), "MPI_Comm_dup");
    return Communicator{std::move(handle)};
}

Communicator Communicator::split(int color, int key) const {
    BLISS_EXPECT(color >= 0, "every rank belongs to one of the parts");
    auto handle = std::make_unique<Handle>();
    check(MPI_Comm_split(handle_->comm, color, key, &handle->comm), "MPI_Comm_split");
    return Communicator{std::move(handle)};
}

Communicator Communicator::node() const {
    auto handle = std::make_unique<Handle>();
    check(MPI_Comm_split_type(handle_->comm, MPI_COMM_TYPE_SHARED, rank_, MPI_INFO_NULL, &handle->comm),
          "MPI_Comm_split_type");
    return Communicator{std::move(handle)};
}

void Communicator::barrier() const { check(MPI_Barrier(handle_->comm), "MPI_Barrier"); }

void Communicator::broadcast_bytes(std::span<std::byte> bytes, int root) const {
    in_pieces(std::ssize(bytes), piece_bytes_, [&](std::int64_t begin, int count) {
        check(MPI_Bcast(bytes.data() + begin, count, MPI_BYTE, root, handle_->comm), "MPI_Bcast");
    });
}

std::vector<std::int64_t> Communicator::gather_sizes(std::int64_t size) const {
    std::vector<std::int64_t> sizes(static_cast<std::size_t>(size_));
    check(MPI_Allgather(&size, 1, MPI_INT64_T, sizes.data(), 1, MPI_INT64_T, handle_->comm), "MPI_Allgather");
    return sizes;
}

void Communicator::gather_bytes(std::span<const std::byte> mine, std::span<const std::int64_t> sizes,
                                std::span<std::byte> all, int root) const {
    std::vector<int> counts;
    std::vector<int> starts;
    std::int64_t total = 0;
    for (const std::int64_t size : sizes) {
        if (total + size > piece_bytes_) break;
        counts.push_back(static_cast<int>(size));
        starts.push_back(static_cast<int>(total));
        total += size;
    }
    if (counts.size() == sizes.size()) {
        const int count = static_cast<int>(mine.size());
        if (root == k_all_ranks)
            check(MPI_Allgatherv(mine.data(), count, MPI_BYTE, all.data(), counts.data(), starts.data(), MPI_BYTE,
                                 handle_->comm),
                  "MPI_Allgatherv");
        else
            check(MPI_Gatherv(mine.data(), count, MPI_BYTE, all.data(), counts.data(), starts.data(), MPI_BYTE, root,
                              handle_->comm),
                  "MPI_Gatherv");
        return;
    }

    // One call's counts and offsets are 32-bit: above that, to a root one rank after the other sends its pieces, and to all
    // ranks each in turn broadcasts its part.
    std::int64_t start = 0;
    for (int from = 0; from < size_; ++from) {
        const std::int64_t size = sizes[static_cast<std::size_t>(from)];
        if (root == k_all_ranks) {
            const auto part = all.subspan(static_cast<std::size_t>(start), static_cast<std::size_t>(size));
            if (from == rank_) std::ranges::copy(mine, part.begin());
            broadcast_bytes(part, from);
        } else if (rank_ == root && from == root) {
            std::ranges::copy(mine, all.begin() + start);
        } else if (rank_ == root) {
            receive_bytes(all.subspan(static_cast<std::size_t>(start), static_cast<std::size_t>(size)), from, k_gather_tag);
        } else if (rank_ == from) {
            send_bytes(mine, root, k_gather_tag);
        }
        start += size;
    }
}

void Communicator::send_bytes(std::span<const std::byte> bytes, int to, int tag) const {
    in_pieces(std::ssize(bytes), piece_bytes_, [&](std::int64_t begin, int count) {
        check(MPI_Send(bytes.data() + begin, count, MPI_BYTE, to, tag, handle_->comm), "MPI_Send");
    });
}

void Communicator::receive_bytes(std::span<std::byte> bytes, int from, int tag) const {
    in_pieces(std::ssize(bytes), piece_bytes_, [&](std::int64_t begin, int count) {
        MPI_Status status;
        check(MPI_Recv(bytes.data() + begin, count, MPI_BYTE, from, tag, handle_->comm, &status), "MPI_Recv");
        int received = 0;
        check(MPI_Get_count(&status, MPI_BYTE, &received), "MPI_Get_count");
        if (received != count)
            throw MpiError("a message of " + std::to_string(received) + " bytes came from rank " + std::to_string(from) +
                           " where " + std::to_string(count) + " were expected; do all ranks run the same program?");
    });
}

void Communicator::send(const std::string& text, int to, int tag) const {
    send(static_cast<std::int64_t>(text.size()), to, tag);
    send_bytes(std::as_bytes(std::span{text}), to, tag);
}

std::string Communicator::receive_text(int from, int tag) const {
    std::string text(static_cast<std::size_t>(receive<std::int64_t>(from, tag)), '\0');
    receive_bytes(std::as_writable_bytes(std::span{text}), from, tag);
    return text;
}

std::optional<int> Communicator::poll(int tag) const {
    int there = 0;
    MPI_Status status;
    check(MPI_Iprobe(MPI_ANY_SOURCE, tag, handle_->comm, &there, &status), "MPI_Iprobe");
    return there ? std::optional{status.MPI_SOURCE} : std::nullopt;
}

MPI_Comm native(const Communicator& communicator) { return communicator.handle().comm; }

}  // namespace bliss::comm
